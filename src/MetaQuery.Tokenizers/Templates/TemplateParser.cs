namespace MetaQuery.Tokenizers.Templates;

/// <summary>Jinja's statements as far as chat templates use them: for, if, set, macro, break, continue, generation.</summary>
internal sealed class TemplateParser : ExpressionParser
{
    private const int DeepestMacroCall = 100;

    public TemplateParser(string source)
        : this(TemplateLexer.Normalize(source), normalized: true)
    {
    }

    private TemplateParser(string source, bool normalized)
        : base(source, new TemplateLexer(source).Tokenize()) => _ = normalized;

    /// <summary>The whole template as one statement.</summary>
    /// <exception cref="ChatTemplateException">Unknown syntax, with its place.</exception>
    public Statement ParseTemplate()
    {
        var body = ParseBody();
        return Current.Kind == TokenKind.End ? body : throw Error(Current, $"'{Current.Text}' closes nothing");
    }

    // Up to a tag that only an outer statement understands; that tag's name is then the current token.
    private Statement ParseBody(params string[] endTags)
    {
        var statements = new List<Statement>();
        while (Current.Kind != TokenKind.End)
        {
            var token = Take();
            switch (token.Kind)
            {
                case TokenKind.Data:
                    var data = MarkedText.Trusted(token.Text);
                    statements.Add((_, output) => Write(output, data));
                    break;
                case TokenKind.PrintBegin:
                    var value = ParseTuple();
                    Expect(TokenKind.PrintEnd);
                    statements.Add((scope, output) => Write(output, Values.ToText(value(scope))));
                    break;
                default:
                    if (endTags.Contains(Current.Text))
                    {
                        return Sequence(statements);
                    }

                    statements.Add(ParseStatement());
                    break;
            }
        }

        return endTags.Length == 0 ? Sequence(statements) : throw Error(Current, $"{{% {endTags[^1]} %}} is missing");
    }

    private static Flow Write(List<MarkedText> output, MarkedText text)
    {
        output.Add(text);
        return Flow.Next;
    }

    private static Statement Sequence(List<Statement> statements) => (scope, output) =>
    {
        foreach (var statement in statements)
        {
            if (statement(scope, output) is not Flow.Next and var flow)
            {
                return flow;
            }
        }

        return Flow.Next;
    };

    private Statement ParseStatement()
    {
        var token = Expect(TokenKind.Name);
        switch (token.Text)
        {
            case "if":
                return ParseIf();
            case "for":
                return ParseFor(token);
            case "set":
                return ParseSet(token);
            case "macro":
                return ParseMacro();
            case "generation": // transformers marks the assistant's text with it; nothing is printed
                EndTag();
                var body = ParseBody("endgeneration");
                Take();
                EndTag();
                return body;
            case "break":
                EndTag();
                return (_, _) => Flow.Break;
            case "continue":
                EndTag();
                return (_, _) => Flow.Continue;
            default:
                throw Error(token, $"{{% {token.Text} %}} is not supported; known are if, for, set, macro, generation, break, continue and raw");
        }
    }

    private void EndTag() => Expect(TokenKind.BlockEnd, "%}");

    private Statement ParseIf()
    {
        var condition = ParseTuple();
        EndTag();
        var whenTrue = ParseBody("elif", "else", "endif");
        Statement whenFalse = (_, _) => Flow.Next;
        switch (Take().Text)
        {
            case "elif":
                whenFalse = ParseIf();
                break;
            case "else":
                EndTag();
                whenFalse = ParseBody("endif");
                Take();
                EndTag();
                break;
            default:
                EndTag();
                break;
        }

        return (scope, output) => Values.IsTrue(condition(scope)) ? whenTrue(scope, output) : whenFalse(scope, output);
    }

    private Statement ParseFor(Token at)
    {
        var assign = ParseTargets();
        if (!AcceptName("in"))
        {
            throw Error(Current, "'in' expected");
        }

        var items = At(at, ParseIterable());
        var condition = AcceptName("if") ? ParseExpression() : null;
        if (Current is { Kind: TokenKind.Name, Text: "recursive" })
        {
            throw Error(Current, "recursive loops are not supported");
        }

        EndTag();
        var body = ParseBody("else", "endfor");
        Statement? whenEmpty = null;
        if (Take().Text == "else")
        {
            EndTag();
            whenEmpty = ParseBody("endfor");
            Take();
        }

        EndTag();
        return (scope, output) =>
        {
            var values = Located(at, () => Values.Iterate(items(scope)));
            if (condition is not null)
            {
                values = [.. values.Where(value =>
                {
                    var inner = new Scope(scope);
                    Located(at, () => assign(inner, value));
                    return Values.IsTrue(condition(inner));
                })];
            }

            for (var index = 0; index < values.Count; index++)
            {
                var inner = new Scope(scope);
                inner.Set("loop", TemplateGlobals.Loop(values, index));
                Located(at, () => assign(inner, values[index]));
                if (body(inner, output) == Flow.Break)
                {
                    break;
                }
            }

            return values.Count == 0 && whenEmpty is not null ? whenEmpty(scope, output) : Flow.Next;
        };
    }

    private Statement ParseSet(Token at)
    {
        var first = Current;
        var assign = ParseTargets(allowAttribute: true);
        if (AcceptOperator("="))
        {
            var value = ParseTuple();
            EndTag();
            return (scope, _) =>
            {
                var made = value(scope);
                Located(first, () => assign(scope, made));
                return Flow.Next;
            };
        }

        if (Current.Kind != TokenKind.BlockEnd)
        {
            throw Error(Current, "'=' expected");
        }

        EndTag();
        var body = ParseBody("endset");
        Take();
        EndTag();
        return (scope, _) =>
        {
            var text = new List<MarkedText>();
            body(new Scope(scope), text);
            Located(at, () => assign(scope, MarkedText.Concat(text)));
            return Flow.Next;
        };
    }

    private Statement ParseMacro()
    {
        var name = Expect(TokenKind.Name);
        Expect(TokenKind.Operator, "(");
        var parameters = new List<(string Name, Expression? Default)>();
        while (!AcceptOperator(")"))
        {
            var parameter = Expect(TokenKind.Name).Text;
            parameters.Add((parameter, AcceptOperator("=") ? ParseExpression() : null));
            if (!AcceptOperator(","))
            {
                Expect(TokenKind.Operator, ")");
                break;
            }
        }

        EndTag();
        var body = ParseBody("endmacro");
        Take();
        EndTag();
        var depth = new ThreadLocal<int>();
        return (scope, _) =>
        {
            Callable call = (arguments, named) =>
            {
                if (arguments.Count > parameters.Count || named.Keys.FirstOrDefault(k => parameters.All(p => p.Name != k)) is not null)
                {
                    throw new TemplateValueException($"macro {name.Text} takes {string.Join(", ", parameters.Select(p => p.Name))}");
                }

                var inner = new Scope(scope);
                for (var index = 0; index < parameters.Count; index++)
                {
                    var (parameter, whenMissing) = parameters[index];
                    inner.Set(parameter, index < arguments.Count ? arguments[index]
                        : named.TryGetValue(parameter, out var given) ? given
                        : whenMissing is null ? new Undefined(parameter) : whenMissing(inner));
                }

                if (++depth.Value > DeepestMacroCall)
                {
                    depth.Value = 0;
                    throw new TemplateValueException($"macro {name.Text} calls itself more than {DeepestMacroCall} times");
                }

                var text = new List<MarkedText>();
                body(inner, text);
                depth.Value--;
                return MarkedText.Concat(text);
            };
            scope.Set(name.Text, call);
            return Flow.Next;
        };
    }

    // "a", "a, b" or (for set) "space.attribute"
    private Action<Scope, object?> ParseTargets(bool allowAttribute = false)
    {
        var isWrapped = AcceptOperator("(");
        var names = new List<string> { Expect(TokenKind.Name).Text };
        if (allowAttribute && AcceptOperator("."))
        {
            var attribute = Expect(TokenKind.Name).Text;
            return (scope, value) =>
            {
                var space = scope.Get(names[0]) as NamespaceValue ?? throw new TemplateValueException($"'{names[0]}' is no namespace, so '{attribute}' cannot be set");
                space.Attributes[attribute] = value;
            };
        }

        while (AcceptOperator(","))
        {
            names.Add(Expect(TokenKind.Name).Text);
        }

        if (isWrapped)
        {
            Expect(TokenKind.Operator, ")");
        }

        if (names.Count == 1)
        {
            return (scope, value) => scope.Set(names[0], value);
        }

        return (scope, value) =>
        {
            var items = Values.Iterate(value);
            if (items.Count != names.Count)
            {
                throw new TemplateValueException($"{items.Count} values cannot be assigned to {names.Count} names");
            }

            for (var index = 0; index < items.Count; index++)
            {
                scope.Set(names[index], items[index]);
            }
        };
    }

    // Without the trailing "if …", which belongs to the loop.
    private Expression ParseIterable() => ParseOr();

    // An expression, or several with commas between.
    private Expression ParseTuple()
    {
        var first = ParseExpression();
        if (Current is not { Kind: TokenKind.Operator, Text: "," })
        {
            return first;
        }

        var items = new List<Expression> { first };
        while (AcceptOperator(","))
        {
            items.Add(ParseExpression());
        }

        return scope => items.Select(i => i(scope)).ToList();
    }

    private void Located(Token at, Action action) => Located(at, () =>
    {
        action();
        return true;
    });

    private T Located<T>(Token at, Func<T> function)
    {
        try
        {
            return function();
        }
        catch (TemplateValueException error)
        {
            throw Error(at, error.Message);
        }
    }
}
