namespace MetaQuery.Tokenizers.Templates;

/// <summary>Jinja's expressions (jinja2 3.1 parser.py), by precedence: if-else, or, and, not, comparison, + -, ~, * / // %, unary, **, postfix, filters and tests.</summary>
internal class ExpressionParser(string source, IReadOnlyList<Token> tokens)
{
    private int next;

    protected Token Current => tokens[next];

    public Expression ParseExpression()
    {
        var value = ParseOr();
        while (AcceptName("if"))
        {
            var (whenTrue, condition) = (value, ParseOr());
            var whenFalse = AcceptName("else") ? ParseExpression() : _ => new Undefined("the missing else");
            value = scope => Values.IsTrue(condition(scope)) ? whenTrue(scope) : whenFalse(scope);
        }

        return value;
    }

    protected Token Take() => tokens[next++];

    protected bool Accept(TokenKind kind, string text)
    {
        var found = Current.Kind == kind && string.Equals(Current.Text, text, StringComparison.Ordinal);
        next += found ? 1 : 0;
        return found;
    }

    protected bool AcceptName(string name) => Accept(TokenKind.Name, name);

    protected bool AcceptOperator(string text) => Accept(TokenKind.Operator, text);

    protected Token Expect(TokenKind kind, string? text = null) =>
        Current.Kind == kind && (text is null || string.Equals(Current.Text, text, StringComparison.Ordinal))
            ? Take()
            : throw Error(Current, $"{text ?? kind.ToString().ToLowerInvariant()} expected, {(Current.Kind == TokenKind.End ? "the template ends" : $"'{Current.Text}' found")}");

    protected ChatTemplateException Error(Token at, string message) => TemplateError.At(source, at.Position, message);

    /// <summary>Adds the place to what goes wrong when the template runs.</summary>
    protected Expression At(Token token, Expression expression) => scope =>
    {
        try
        {
            return expression(scope);
        }
        catch (TemplateValueException error)
        {
            throw TemplateError.At(source, token.Position, error.Message);
        }
        catch (Exception error) when (error is ArgumentOutOfRangeException or IndexOutOfRangeException or InvalidOperationException)
        {
            throw TemplateError.At(source, token.Position, "too few arguments, or an operation on an empty list");
        }
    };

    protected Expression ParseOr()
    {
        var left = ParseAnd();
        while (AcceptName("or"))
        {
            var (first, second) = (left, ParseAnd());
            left = scope => first(scope) is var value && Values.IsTrue(value) ? value : second(scope);
        }

        return left;
    }

    protected (List<Expression> Positional, List<(string Name, Expression Value)> Named) ParseArguments()
    {
        var positional = new List<Expression>();
        var named = new List<(string, Expression)>();
        while (!AcceptOperator(")"))
        {
            if (Current.Kind == TokenKind.Name && tokens[next + 1] is { Kind: TokenKind.Operator, Text: "=" })
            {
                var name = Take().Text;
                Take();
                named.Add((name, ParseExpression()));
            }
            else
            {
                positional.Add(ParseExpression());
            }

            if (!AcceptOperator(","))
            {
                Expect(TokenKind.Operator, ")");
                break;
            }
        }

        return (positional, named);
    }

    private Expression ParseAnd()
    {
        var left = ParseNot();
        while (AcceptName("and"))
        {
            var (first, second) = (left, ParseNot());
            left = scope => first(scope) is var value && !Values.IsTrue(value) ? value : second(scope);
        }

        return left;
    }

    private Expression ParseNot()
    {
        if (!AcceptName("not"))
        {
            return ParseComparison();
        }

        var value = ParseNot();
        return scope => !Values.IsTrue(value(scope));
    }

    private Expression ParseComparison()
    {
        var first = ParseSum();
        var rest = new List<(Func<object?, object?, bool> Test, Expression Value)>();
        var start = Current;
        while (true)
        {
            var token = Current;
            Func<object?, object?, bool>? test = null;
            if (token.Kind == TokenKind.Operator)
            {
                test = token.Text switch
                {
                    "==" => Values.AreEqual,
                    "!=" => (a, b) => !Values.AreEqual(a, b),
                    "<" => (a, b) => Values.Compare(a, b) < 0,
                    "<=" => (a, b) => Values.Compare(a, b) <= 0,
                    ">" => (a, b) => Values.Compare(a, b) > 0,
                    ">=" => (a, b) => Values.Compare(a, b) >= 0,
                    _ => null,
                };
                next += test is null ? 0 : 1;
            }
            else if (AcceptName("in"))
            {
                test = (a, b) => Values.Contains(b, a);
            }
            else if (token is { Kind: TokenKind.Name, Text: "not" } && tokens[next + 1] is { Kind: TokenKind.Name, Text: "in" })
            {
                next += 2;
                test = (a, b) => !Values.Contains(b, a);
            }

            if (test is null)
            {
                break;
            }

            rest.Add((test, ParseSum()));
        }

        return rest.Count == 0 ? first : At(start, scope =>
        {
            var left = first(scope);
            foreach (var (test, value) in rest)
            {
                var right = value(scope);
                if (!test(left, right))
                {
                    return false;
                }

                left = right;
            }

            return true;
        });
    }

    private Expression ParseSum() => ParseBinary(ParseConcatenation, "+", "-");

    private Expression ParseConcatenation()
    {
        var first = ParseProduct();
        if (Current is not { Kind: TokenKind.Operator, Text: "~" })
        {
            return first;
        }

        var parts = new List<Expression> { first };
        while (AcceptOperator("~"))
        {
            parts.Add(ParseProduct());
        }

        return scope => MarkedText.Concat(parts.Select(p => Values.ToText(p(scope))));
    }

    private Expression ParseProduct() => ParseBinary(() => ParseUnary(withFilters: true), "*", "/", "//", "%");

    private Expression ParseBinary(Func<Expression> operand, params string[] signs)
    {
        var left = operand();
        while (Current.Kind == TokenKind.Operator && signs.Contains(Current.Text))
        {
            var token = Take();
            var (first, second) = (left, operand());
            left = At(token, scope => Values.Arithmetic(token.Text, first(scope), second(scope)));
        }

        return left;
    }

    private Expression ParseUnary(bool withFilters)
    {
        var token = Current;
        Expression value;
        if (AcceptOperator("-"))
        {
            var operand = ParseUnary(withFilters: false);
            value = At(token, scope => Values.Arithmetic("-", 0L, operand(scope)));
        }
        else if (AcceptOperator("+"))
        {
            value = ParseUnary(withFilters: false);
        }
        else
        {
            value = ParsePostfix(ParsePrimary());
        }

        token = Current;
        if (AcceptOperator("**"))
        {
            var (left, right) = (value, ParseUnary(withFilters: false));
            value = At(token, scope => Values.Arithmetic("**", left(scope), right(scope)));
        }

        return withFilters ? ParseFilters(value) : value;
    }

    private Expression ParsePrimary()
    {
        var token = Take();
        switch (token.Kind)
        {
            case TokenKind.Name:
                return token.Text switch
                {
                    "true" or "True" => _ => true,
                    "false" or "False" => _ => false,
                    "none" or "None" => _ => null,
                    var name => scope => scope.Get(name),
                };
            case TokenKind.Integer when long.TryParse(token.Text, out var number):
                return _ => number;
            case TokenKind.Float:
                var real = double.Parse(token.Text);
                return _ => real;
            case TokenKind.Text:
                var text = token.Text;
                while (Current.Kind == TokenKind.Text)
                {
                    text += Take().Text;
                }

                var literal = MarkedText.Trusted(text);
                return _ => literal;
            case TokenKind.Operator when token.Text is "[" or "(":
                return ParseSequence(token.Text == "[" ? "]" : ")", isTuple: token.Text == "(");
            case TokenKind.Operator when token.Text == "{":
                return ParseDictionary();
            default:
                throw Error(token, token.Kind == TokenKind.End ? "an expression is missing at the end" : $"'{token.Text}' cannot begin an expression");
        }
    }

    private Expression ParseSequence(string close, bool isTuple)
    {
        var items = new List<Expression>();
        var hasComma = false;
        while (!AcceptOperator(close))
        {
            items.Add(ParseExpression());
            if (!AcceptOperator(","))
            {
                Expect(TokenKind.Operator, close);
                break;
            }

            hasComma = true;
        }

        return isTuple && items.Count == 1 && !hasComma ? items[0] : scope => items.Select(i => i(scope)).ToList();
    }

    private Expression ParseDictionary()
    {
        var items = new List<(Expression Key, Expression Value)>();
        while (!AcceptOperator("}"))
        {
            var key = At(Current, ParseExpression());
            Expect(TokenKind.Operator, ":");
            items.Add((key, ParseExpression()));
            if (!AcceptOperator(","))
            {
                Expect(TokenKind.Operator, "}");
                break;
            }
        }

        return scope =>
        {
            var made = new Dictionary<string, object?>();
            foreach (var (key, value) in items)
            {
                made[Values.AsText(key(scope)).Value] = value(scope);
            }

            return made;
        };
    }

    private Expression ParsePostfix(Expression value)
    {
        while (true)
        {
            var token = Current;
            var target = value;
            if (AcceptOperator("."))
            {
                if (Current.Kind == TokenKind.Integer)
                {
                    var index = long.Parse(Take().Text);
                    value = At(token, scope => Values.Item(target(scope), index));
                    continue;
                }

                var name = Expect(TokenKind.Name).Text;
                value = At(token, scope => Values.Attribute(target(scope), name));
            }
            else if (AcceptOperator("["))
            {
                value = At(token, ParseSubscript(target));
            }
            else if (AcceptOperator("("))
            {
                var (positional, named) = ParseArguments();
                value = At(token, scope => target(scope) switch
                {
                    Callable function => function([.. positional.Select(a => a(scope))], named.ToDictionary(a => a.Name, a => a.Value(scope))),
                    Undefined missing => throw new TemplateValueException($"'{missing.Name}' is not a known function"),
                    var other => throw new TemplateValueException($"{Values.TypeName(other)} cannot be called"),
                });
            }
            else
            {
                return value;
            }
        }
    }

    private Expression ParseSubscript(Expression target)
    {
        var parts = new Expression?[3];
        var count = 0;
        var isSlice = false;
        while (!AcceptOperator("]"))
        {
            if (AcceptOperator(":"))
            {
                isSlice = true;
                count++;
            }
            else
            {
                parts[Math.Min(count, 2)] = ParseExpression();
                if (Current is not { Kind: TokenKind.Operator, Text: ":" or "]" })
                {
                    Expect(TokenKind.Operator, "]");
                }
            }
        }

        var (from, to, step) = (parts[0], parts[1], parts[2]);
        if (isSlice)
        {
            return scope => Values.Slice(target(scope), from?.Invoke(scope), to?.Invoke(scope), step?.Invoke(scope));
        }

        var key = from ?? throw Error(Current, "an index is missing between '[' and ']'");
        return scope => Values.Item(target(scope), key(scope));
    }

    private Expression ParseFilters(Expression value)
    {
        while (true)
        {
            var target = value;
            if (AcceptOperator("|"))
            {
                var name = Expect(TokenKind.Name);
                var (positional, named) = AcceptOperator("(") ? ParseArguments() : ([], []);
                var filter = Filters.Find(name.Text) ?? throw Error(name, $"unknown filter '{name.Text}'");
                value = At(name, scope => filter([target(scope), .. positional.Select(a => a(scope))], named.ToDictionary(a => a.Name, a => a.Value(scope))));
            }
            else if (AcceptName("is"))
            {
                var isNegated = AcceptName("not");
                var name = Expect(TokenKind.Name);
                var test = Tests.Find(name.Text) ?? throw Error(name, $"unknown test '{name.Text}'");
                var arguments = AcceptOperator("(") ? ParseArguments().Positional : BeginsTestArgument() ? [ParsePostfix(ParsePrimary())] : [];
                value = At(name, scope => test(target(scope), [.. arguments.Select(a => a(scope))]) != isNegated);
            }
            else
            {
                return value;
            }
        }
    }

    private bool BeginsTestArgument() => Current.Kind switch
    {
        TokenKind.Text or TokenKind.Integer or TokenKind.Float => true,
        TokenKind.Name => Current.Text is not ("else" or "or" or "and" or "is" or "if" or "in" or "not"),
        TokenKind.Operator => Current.Text is "[" or "{",
        _ => false,
    };
}
