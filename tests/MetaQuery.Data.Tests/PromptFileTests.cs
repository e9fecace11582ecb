using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;

namespace MetaQuery.Data.Tests;

public sealed class PromptFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_text_file_gives_a_prompt_per_line_and_skips_empty_lines()
    {
        PromptLine[] lines = Read("p.txt", "\uFEFFa red apple\r\n\r\n  \n a dog \nlast");

        Assert.Equal(["a red apple", " a dog ", "last"], lines.Select(line => line.Prompt));
        Assert.Equal([1L, 4, 5], lines.Select(line => line.Line));
        Assert.Equal([0L, 1, 2], lines.Select(line => line.Index));
    }

    [Fact]
    public void A_json_line_gives_its_known_fields_and_keeps_the_others_as_they_stand()
    {
        PromptLine line = Assert.Single(Read("p.jsonl",
            """{"z": 1.10, "prompt": "a \u00e9t\u00e9", "id": 7, "seed": 18446744073709551615, "steps": 20, "guidance": 4.5, "negative_prompt": "", "include": [{"class": "bench",  "count": 1e2}], "A": null}""" + "\n\n"));

        Assert.Equal("a été", line.Prompt);
        Assert.Equal("7", line.Id);
        Assert.True(line.IdIsNumber);
        Assert.Equal(ulong.MaxValue, line.Seed);
        Assert.Equal(20, line.NumInferenceSteps);
        Assert.Equal(4.5f, line.GuidanceScale);
        Assert.Equal("", line.NegativePrompt);
        Assert.Equal("""
            "z":1.10,"include":[{"class": "bench",  "count": 1e2}],"A":null
            """, Encoding.UTF8.GetString(line.OtherFields.Span));
    }

    [Fact]
    public void Other_spellings_of_a_field_mean_the_same()
    {
        PromptLine json = Assert.Single(Read("p.jsonl", """{"prompt": "a", "num_inference_steps": 3, "guidance_scale": 2, "negative prompt": "b", "seed": null}"""));
        PromptLine csv = Assert.Single(Read("p.csv", "prompt,num_inference_steps,guidance_scale,negative prompt,seed\na,3,2,b,\n"));

        foreach (PromptLine line in new[] { json, csv })
        {
            Assert.Equal((3, 2f, "b", null), (line.NumInferenceSteps, line.GuidanceScale, line.NegativePrompt, line.Seed));
        }
    }

    [Fact]
    public void A_csv_record_may_hold_commas_quotes_and_line_breaks()
    {
        PromptLine[] lines = Read("p.csv", "id,prompt,tag\r\n1,\"a \"\"big\"\" dog,\r\nrunning\",\"x\ny\"\r\n\r\n2,plain,\r\n");

        Assert.Equal(["a \"big\" dog,\r\nrunning", "plain"], lines.Select(line => line.Prompt));
        Assert.Equal([2L, 6], lines.Select(line => line.Line));
        Assert.Equal(["\"tag\":\"x\\ny\"", "\"tag\":\"\""], lines.Select(line => Encoding.UTF8.GetString(line.OtherFields.Span)));
    }

    [Theory]
    [InlineData("p.jsonl", "{\"prompt\":\"a\"}\n{\"text\":\"b\"}", 2, "has no \"prompt\"")]
    [InlineData("p.jsonl", "{\"prompt\":\" \"}", 1, "the prompt is empty")]
    [InlineData("p.jsonl", "{\"prompt\":null}", 1, "has no \"prompt\"")]
    [InlineData("p.jsonl", "{\"prompt\":3}", 1, "the field \"prompt\" is a number; it should be a text")]
    [InlineData("p.jsonl", "[1]", 1, "is not a JSON object")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",}", 1, "is not valid JSON at column 15")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\"} x", 1, "is not valid JSON at column 16")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\"", 1, "is not valid JSON")]
    [InlineData("p.jsonl", "{\"prompt\":\"\\ud800\"}", 1, "half a surrogate pair")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\\u0000b\"}", 1, "the prompt holds a NUL character at place 2")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"prompt\":\"b\"}", 1, "the field \"prompt\" stands twice")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"steps\":2,\"num_inference_steps\":2}", 1, "the field \"steps\" stands twice")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"x\":1,\"\\u0078\":2}", 1, "the field \"x\" stands twice")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"seed\":-1}", 1, "the seed -1 is not a whole number from 0 to 18446744073709551615")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"seed\":18446744073709551616}", 1, "the seed 18446744073709551616 is not")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"seed\":1.5}", 1, "the seed 1.5 is not")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"seed\":\"1\"}", 1, "the field \"seed\" is a text; it should be a number")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"steps\":0}", 1, "steps 0 is not a whole number from 1 to 1000")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"guidance\":1e99}", 1, "guidance 1e99 is not a number from 0 to 100")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"width\":64}", 1, "the field \"width\" is one that each sample's JSON has already")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"id\":\"x\"}\n{\"prompt\":\"b\",\"id\":\"x\"}", 2, "the id \"x\" stands on line 1 already")]
    [InlineData("p.csv", "prompt,seed\na,1\nb\n", 3, "has 1 fields; the header has 2")]
    [InlineData("p.csv", "prompt,seed\na,1,2\n", 2, "has 3 fields; the header has 2")]
    [InlineData("p.csv", "prompt\n5\" nail\n", 2, "a quoted field is not closed before the file's end")]
    [InlineData("p.csv", "prompt\n5\" nail \" x\n", 2, "a quote stands inside field 1, which is not quoted")]
    [InlineData("p.csv", "prompt,a\n\"x\"y,1\n", 2, "after the closing quote of field 1 a comma or the line's end is expected")]
    [InlineData("p.csv", "id,prompt\n1,\n", 2, "the prompt is empty")]
    [InlineData("p.csv", "prompt,guidance\na,nan\n", 2, "guidance nan is not a number")]
    public void An_invalid_line_is_reported_with_its_number_and_what_is_wrong(string name, string text, long line, string what)
    {
        PromptFile file = PromptFile.Open(_folder.Write(name, text));

        PromptLineException thrown = Assert.Throws<PromptLineException>(() => file.Validate());

        Assert.Equal(line, thrown.Error.Line);
        Assert.Contains(what, thrown.Error.What, StringComparison.Ordinal);
        Assert.StartsWith($"{file.Path}, line {line}: ", thrown.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', thrown.Message);
    }

    [Theory]
    [InlineData("p.txt", "ok\nab\u0001c\n", 2, 3, 5)]
    [InlineData("p.jsonl", "{\"prompt\":\"\u0001\"}", 1, 12, 11)]
    [InlineData("p.csv", "prompt\n\"a\nb\u0001\"\n", 3, 2, 11)]
    public void An_invalid_byte_is_reported_with_line_column_and_place_in_the_file(string name, string text, long line, int column, int offset)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        bytes[Array.IndexOf(bytes, (byte)1)] = 0xFF;
        PromptFile file = PromptFile.Open(_folder.Write(name, bytes));

        PromptLineException thrown = Assert.Throws<PromptLineException>(() => file.Validate());

        Assert.Equal(line, thrown.Error.Line);
        Assert.Equal($"the byte 0xFF at column {column} (byte {offset} of the file) is not UTF-8", thrown.Error.What);
    }

    [Theory]
    [InlineData("p.txt", "")]
    [InlineData("p.jsonl", "{\"prompt\":\"")]
    [InlineData("p.csv", "prompt\n")]
    public void A_prompt_of_one_megabyte_is_refused_and_the_next_line_is_read(string name, string before)
    {
        string huge = new('x', 1_000_000);
        string after = name == "p.jsonl" ? "\"}\n{\"prompt\":\"b\"}" : "\nb";
        foreach (string content in new[] { huge, huge + huge, "é" + huge })
        {
            PromptFile file = PromptFile.Open(_folder.Write(name, before + content + after));

            PromptFileSummary summary = file.Validate(skipInvalid: true);

            PromptLineError error = Assert.Single(summary.Errors);
            Assert.Contains("16384", error.What, StringComparison.Ordinal);
            Assert.Equal("b", Assert.Single(file.Read(summary)).Prompt);
        }
    }

    [Fact]
    public void A_stray_quote_costs_its_line_and_not_the_rest_of_the_file()
    {
        PromptFile file = PromptFile.Open(_folder.Write("p.csv", "prompt\na\n\"b\nc\nd\n"));

        PromptFileSummary summary = file.Validate(skipInvalid: true);

        Assert.Equal(3, Assert.Single(summary.Errors).Line);
        Assert.Equal(["a", "c", "d"], file.Read().Select(line => line.Prompt));
    }

    [Fact]
    public void Skipped_lines_are_listed_and_the_others_are_numbered_without_gaps()
    {
        PromptFile file = PromptFile.Open(_folder.Write("p.jsonl", "{\"prompt\":\"a\"}\nnot json\n{\"prompt\":\"b\"}\n{}\n"));
        var seen = new List<long>();

        PromptFileSummary summary = file.Validate(skipInvalid: true, error => seen.Add(error.Line));

        Assert.Equal([2L, 4], seen);
        Assert.Equal((2L, 2L), (summary.PromptCount, summary.ErrorCount));
        Assert.Equal([(1L, 0L), (3L, 1L)], file.Read(summary).Select(line => (line.Line, line.Index)));
    }

    [Theory]
    [InlineData("missing.txt", null, "there is no such prompt file")]
    [InlineData("p.txt", "", "is empty")]
    [InlineData("p.txt", "\n \n", "holds no prompt")]
    [InlineData("p.csv", "prompt\n", "holds no prompt")]
    [InlineData("p.csv", "text,seed\na,1\n", "line 1: the header has no column \"prompt\", it has: text,seed")]
    [InlineData("p.csv", "prompt,prompt\na,1\n", "line 1: the header has the column \"prompt\" twice")]
    [InlineData("p.csv", "prompt,\na,1\n", "line 1: the header has a column without a name")]
    [InlineData("p.parquet", "PAR1", "a prompt file ends in .txt, .jsonl or .csv, not in \".parquet\"")]
    public void A_file_that_is_of_no_use_as_a_whole_is_refused_in_one_line(string name, string? text, string what)
    {
        if (text is not null)
        {
            _folder.Write(name, text);
        }

        PromptFileException thrown = Assert.ThrowsAny<PromptFileException>(() => PromptFile.Open(_folder[name]).Validate());

        Assert.Contains(what, thrown.Message, StringComparison.Ordinal);
        Assert.StartsWith(_folder[name], thrown.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', thrown.Message);
    }

    [Fact]
    public void A_folder_and_a_file_in_UTF_16_are_named_for_what_they_are()
    {
        Directory.CreateDirectory(_folder["folder.txt"]);
        Assert.Contains("is a folder", Assert.Throws<PromptFileException>(() => PromptFile.Open(_folder["folder.txt"])).Message, StringComparison.Ordinal);

        string path = _folder.Write("wide.csv", Encoding.Unicode.GetPreamble().Concat(Encoding.Unicode.GetBytes("prompt\na")).ToArray());
        Assert.Contains("is UTF-16; save it as UTF-8", Assert.Throws<PromptFileException>(() => PromptFile.Open(path).Validate()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_changes_after_validation_is_refused()
    {
        string path = _folder.Write("p.txt", "aaa\nb\n");
        PromptFile file = PromptFile.Open(path);
        PromptFileSummary summary = file.Validate();

        _folder.Write("p.txt", "aab\nb\n");
        Assert.Contains("its sha256 is", Assert.Throws<PromptFileException>(() => file.Read(summary).Count()).Message, StringComparison.Ordinal);

        _folder.Write("p.txt", "aaa\nb\nc\n");
        Assert.Contains("8 bytes long, was 6", Assert.Throws<PromptFileException>(() => file.Read(summary).First()).Message, StringComparison.Ordinal);

        _folder.Write("p.txt", "aaa\nb\n");
        Assert.Equal(2, file.Read(summary).Count()); // written anew with the same bytes
    }

    [Fact]
    public void Other_fields_have_a_limit_in_all_that_pictures_are_no_part_of()
    {
        string half = new('x', 32 << 10);
        string fits = $$"""{"prompt": "a", "images": "data:image/png;base64,{{new string('A', 1 << 20)}}", "a": "{{half}}", "b": 1}""";
        string json = $$"""{"prompt": "a", "a": "{{half}}", "b": "{{half}}"}""";
        const string What = "the other fields have 65549 bytes; they may have 65536"; // with two quoted names, two colons, four quotes and a comma
        Assert.Equal([$"line 2: {What}"], Errors("p.jsonl", $"{fits}\n{json}\n"));
        Assert.Equal([$"line 3: {What}"], Errors("p.csv", $"prompt,a,b\na,{half},1\na,{half},{half}\n"));
    }

    [Fact]
    public void A_file_that_is_written_to_while_it_is_read_is_refused_long_before_its_end()
    {
        string path = _folder.Write("p.txt", string.Concat(Enumerable.Range(0, 100_000).Select(i => $"prompt {i:D6}\n")));
        PromptFile file = PromptFile.Open(path);
        PromptFileSummary summary = file.Validate();
        int read = 0;
        var refused = Assert.Throws<PromptFileException>(() =>
        {
            foreach (PromptLine line in file.Read(summary))
            {
                if (++read == 1000)
                {
                    using FileStream stream = File.Open(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
                    stream.Position = stream.Length - 10;
                    stream.Write("PROMPT"u8);
                    stream.Flush();
                    File.SetLastWriteTimeUtc(stream.SafeFileHandle, summary.LastWriteUtc.AddSeconds(1)); // a clock of coarse ticks may not have moved
                }
            }
        });
        Assert.Contains("written to while it was read", refused.Message, StringComparison.Ordinal);
        Assert.InRange(read, 1000, 1300);
    }

    [Fact]
    public void A_pipe_is_refused_at_once()
    {
        if (OperatingSystem.IsWindows())
        {
            return; // it has no named pipes among its files
        }

        string path = _folder["pipe.txt"];
        using (var make = System.Diagnostics.Process.Start("mkfifo", path))
        {
            make.WaitForExit();
        }

        Assert.Contains("is no regular file", Assert.Throws<PromptFileException>(() => PromptFile.Open(path)).Message, StringComparison.Ordinal);
    }

    [Property(MaxTest = 300)]
    public Property Any_table_written_as_RFC_4180_reads_back_as_it_was() => Prop.ForAll(
        Table(),
        rows =>
        {
            string text = "prompt,other\n" + string.Concat(rows.Select(row => $"{CsvCell(row.Prompt)},{CsvCell(row.Other)}\r\n"));
            PromptLine[] lines = Read("p.csv", text);
            return rows.Select(row => row.Prompt).SequenceEqual(lines.Select(line => line.Prompt))
                && rows.Select(row => row.Other).SequenceEqual(lines.Select(line => Other(line)));
        });

    [Property(MaxTest = 300)]
    public Property Any_table_written_as_JSON_lines_reads_back_as_it_was() => Prop.ForAll(
        Table(),
        rows =>
        {
            string text = string.Concat(rows.Select(row => System.Text.Json.JsonSerializer.Serialize(new { other = row.Other, prompt = row.Prompt }) + "\n"));
            PromptLine[] lines = Read("p.jsonl", text);
            return rows.Select(row => row.Prompt).SequenceEqual(lines.Select(line => line.Prompt))
                && rows.Select(row => row.Other).SequenceEqual(lines.Select(line => Other(line)));
        });

    [Property(MaxTest = 500)]
    public bool Random_bytes_are_read_or_refused_by_line_and_nothing_else_happens(byte[] bytes, byte kind)
    {
        string path = _folder.Write((kind % 3) switch { 0 => "r.txt", 1 => "r.jsonl", _ => "r.csv" }, bytes);
        try
        {
            PromptFileSummary summary = PromptFile.Open(path).Validate(skipInvalid: true);
            return PromptFile.Open(path).Read(summary).LongCount() == summary.PromptCount;
        }
        catch (PromptFileException)
        {
            return true;
        }
    }

    private string[] Errors(string name, string text) =>
        [.. PromptFile.Open(_folder.Write(name, text)).Validate(skipInvalid: true).Errors.Select(error => error.ToString())];

    private PromptLine[] Read(string name, string text)
    {
        PromptFile file = PromptFile.Open(_folder.Write(name, text));
        return [.. file.Read(file.Validate())];
    }

    private static string CsvCell(string text) =>
        text.AsSpan().IndexOfAny("\",\r\n") >= 0 ? $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"" : text;

    private static string Other(PromptLine line)
    {
        using var document = System.Text.Json.JsonDocument.Parse(Encoding.UTF8.GetBytes($"{{{Encoding.UTF8.GetString(line.OtherFields.Span)}}}"));
        return document.RootElement.GetProperty("other").GetString()!;
    }

    /// <summary>One to five rows of texts with everything that CSV and JSON treat specially, prompts never blank.</summary>
    private static Arbitrary<(string Prompt, string Other)[]> Table()
    {
        Gen<string> text = Gen.Elements("a", "\"", ",", "\n", "\r\n", " ", "é", "\\", "漢字", "😀", "\t", "\"\"").ListOf().Select(string.Concat);
        Gen<(string, string)> row =
            from prompt in text
            from other in text
            select ("p" + prompt, other);
        return row.NonEmptyListOf().Select(rows => rows.ToArray()).ToArbitrary();
    }
}
