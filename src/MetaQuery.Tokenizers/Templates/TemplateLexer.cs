using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace MetaQuery.Tokenizers.Templates;

internal enum TokenKind
{
    Data,
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name,
    Integer,
    Float,
    Text,
    Operator,
    End,
}

/// <summary>A lexical unit.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Text">Its text; of a string its value.</param>
/// <param name="Position">Index in the template.</param>
internal readonly record struct Token(TokenKind Kind, string Text, int Position);

/// <summary>Template text → tokens, with Jinja's white space rules (jinja2 3.1 lexer.py; trim_blocks and lstrip_blocks on, as transformers sets them).</summary>
internal sealed class TemplateLexer(string source)
{
    private static readonly string[] Operators =
        ["**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ".", ",", ":", "|"];

    private static readonly TimeSpan MatchTimeout = TimeSpan.FromSeconds(1);
    private readonly List<Token> tokens = [];
    private int position;
    private bool isLineStart = true;

    public static string Normalize(string text)
    {
        text = text.ReplaceLineEndings("\n");
        return text.EndsWith('\n') ? text[..^1] : text; // keep_trailing_newline is off
    }

    public IReadOnlyList<Token> Tokenize()
    {
        while (position < source.Length)
        {
            var tag = NextTag();
            if (tag < 0)
            {
                Add(TokenKind.Data, source[position..], position);
                break;
            }

            var sign = tag + 2 < source.Length ? source[tag + 2] : '\0';
            Data(tag, sign, isPrint: source[tag + 1] == '{');
            position = tag + (sign is '-' or '+' ? 3 : 2);
            switch (source[tag + 1])
            {
                case '#':
                    Comment(tag);
                    break;
                case '{':
                    Add(TokenKind.PrintBegin, "{{", tag);
                    Inside(tag, "}}", TokenKind.PrintEnd);
                    break;
                default:
                    if (!Raw(tag))
                    {
                        Add(TokenKind.BlockBegin, "{%", tag);
                        Inside(tag, "%}", TokenKind.BlockEnd);
                    }

                    break;
            }
        }

        Add(TokenKind.End, "", source.Length);
        return tokens;
    }

    private int NextTag()
    {
        for (var index = position; (index = source.IndexOf('{', index)) >= 0 && index + 1 < source.Length; index++)
        {
            if (source[index + 1] is '{' or '%' or '#')
            {
                return index;
            }
        }

        return -1;
    }

    private void Data(int end, char sign, bool isPrint)
    {
        var text = source[position..end];
        if (sign == '-')
        {
            text = text.TrimEnd();
        }
        else if (sign != '+' && !isPrint)
        {
            var line = text.LastIndexOf('\n') + 1;
            if ((line > 0 || isLineStart) && string.IsNullOrWhiteSpace(text[line..]))
            {
                text = text[..line];
            }
        }

        if (text.Length > 0)
        {
            Add(TokenKind.Data, text, position);
        }
    }

    private void Comment(int start)
    {
        var end = source.IndexOf("#}", position, StringComparison.Ordinal);
        if (end < 0)
        {
            throw TemplateError.At(source, start, "comment without its '#}'");
        }

        position = end;
        Close(source[end - 1], isPrint: false);
    }

    // {% raw %} … {% endraw %}: its text is data.
    private bool Raw(int start)
    {
        var match = Regex.Match(source[position..], @"^\s*raw\s*(-%\}\s*|\+?%\})", RegexOptions.ExplicitCapture, MatchTimeout);
        if (!match.Success)
        {
            return false;
        }

        position += match.Length;
        var rest = source[position..];
        var end = Regex.Match(rest, @"\{%(?<before>[-+]?)\s*endraw\s*(?<after>[-+]?)%\}", RegexOptions.ExplicitCapture, MatchTimeout);
        if (!end.Success)
        {
            throw TemplateError.At(source, start, "{% raw %} without its {% endraw %}");
        }

        var text = rest[..end.Index];
        Add(TokenKind.Data, end.Groups["before"].Value == "-" ? text.TrimEnd() : text, position);
        position += end.Index + end.Length - 2;
        Close(end.Groups["after"].Value.FirstOrDefault(), isPrint: false);
        return true;
    }

    // At the two closing letters; sign is the letter before them.
    private void Close(char sign, bool isPrint)
    {
        position += 2;
        var before = position;
        if (sign == '-')
        {
            while (position < source.Length && char.IsWhiteSpace(source[position]))
            {
                position++;
            }
        }
        else if (sign != '+' && !isPrint && position < source.Length && source[position] == '\n')
        {
            position++;
        }

        isLineStart = position > before && source[position - 1] == '\n';
    }

    private void Inside(int start, string close, TokenKind closeKind)
    {
        var depth = 0; // a dictionary's braces may meet a closing tag's
        while (position < source.Length)
        {
            var letter = source[position];
            var sign = letter is '-' or '+' ? letter : '\0';
            var at = sign == '\0' ? position : position + 1;
            if (depth == 0 && string.CompareOrdinal(source, at, close, 0, 2) == 0)
            {
                Add(closeKind, close, position);
                position = at;
                Close(sign, isPrint: closeKind == TokenKind.PrintEnd);
                return;
            }

            if (char.IsWhiteSpace(letter))
            {
                position++;
            }
            else if (letter is '\'' or '"')
            {
                Literal(letter);
            }
            else if (char.IsAsciiDigit(letter))
            {
                Number();
            }
            else if (char.IsLetter(letter) || letter == '_')
            {
                var from = position;
                while (position < source.Length && (char.IsLetterOrDigit(source[position]) || source[position] == '_'))
                {
                    position++;
                }

                Add(TokenKind.Name, source[from..position], from);
            }
            else
            {
                var found = Operators.FirstOrDefault(o => string.CompareOrdinal(source, position, o, 0, o.Length) == 0)
                    ?? throw TemplateError.At(source, position, $"'{letter}' is not understood");
                depth += found is "{" or "(" or "[" ? 1 : found is "}" or ")" or "]" ? -1 : 0;
                Add(TokenKind.Operator, found, position);
                position += found.Length;
            }
        }

        throw TemplateError.At(source, start, $"tag without its '{close}'");
    }

    private void Number()
    {
        var from = position;
        var isFloat = false;
        while (position < source.Length && (char.IsAsciiDigit(source[position]) || source[position] == '_'
            || (!isFloat && source[position] == '.' && position + 1 < source.Length && char.IsAsciiDigit(source[position + 1]))))
        {
            isFloat |= source[position] == '.';
            position++;
        }

        Add(isFloat ? TokenKind.Float : TokenKind.Integer, source[from..position].Replace("_", "", StringComparison.Ordinal), from);
    }

    private void Literal(char quote)
    {
        var from = position++;
        var text = new StringBuilder();
        while (position < source.Length && source[position] != quote)
        {
            if (source[position] != '\\' || position + 1 >= source.Length)
            {
                text.Append(source[position++]);
                continue;
            }

            var escape = source[position + 1];
            position += 2;
            var digits = escape switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
            if (digits > 0)
            {
                if (position + digits > source.Length || !int.TryParse(source.AsSpan(position, digits), NumberStyles.HexNumber, null, out var point) || point is > 0x10FFFF or < 0)
                {
                    throw TemplateError.At(source, position - 2, $"'\\{escape}' needs {digits} hexadecimal digits");
                }

                text.Append(point < 0x10000 ? ((char)point).ToString() : char.ConvertFromUtf32(point));
                position += digits;
                continue;
            }

            text.Append(escape switch
            {
                'n' => "\n", 't' => "\t", 'r' => "\r", '0' => "\0", 'a' => "\a", 'b' => "\b", 'f' => "\f", 'v' => "\v", '\n' => "",
                '\\' or '\'' or '"' => escape.ToString(),
                _ => "\\" + escape,
            });
        }

        if (position >= source.Length)
        {
            throw TemplateError.At(source, from, "string without its closing quote");
        }

        position++;
        Add(TokenKind.Text, text.ToString(), from);
    }

    private void Add(TokenKind kind, string text, int at) => tokens.Add(new Token(kind, text, at));
}

internal static class TemplateError
{
    public static ChatTemplateException At(string source, int position, string message)
    {
        var before = source.AsSpan(0, Math.Min(position, source.Length));
        var line = before.Count('\n') + 1;
        return new ChatTemplateException($"chat template, line {line}, column {before.Length - before.LastIndexOf('\n')}: {message}");
    }
}
