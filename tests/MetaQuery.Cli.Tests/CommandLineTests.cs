using System.Diagnostics;
using MetaQuery.TestKit;

namespace MetaQuery.Cli.Tests;

/// <summary>What needs no picture: help, wrong options, models, chat.</summary>
public class CommandLineTests
{
    [Fact]
    public void Help_is_quick_and_loads_nothing_native()
    {
        var best = TimeSpan.MaxValue;
        for (var round = 0; round < 3; round++)
        {
            var watch = Stopwatch.StartNew();
            var help = CliProcess.Run(["--help"], environment: new Dictionary<string, string> { ["LIBTORCH"] = "/nowhere" }).Succeeded();
            best = watch.Elapsed < best ? watch.Elapsed : best;
            Assert.Contains("generate", help.Output, StringComparison.Ordinal);
            Assert.Contains("job", help.Output, StringComparison.Ordinal);
        }

        Assert.True(best < TimeSpan.FromSeconds(2), $"the best of three took {best}");
    }

    [Theory]
    [InlineData("is no command", "paint")]
    [InlineData("job needs one of: run", "job")]
    [InlineData("--out", "job", "run", "x.txt")]
    [InlineData("there is no option --colour; ./farm generate --help", "generate", "x", "--colour", "red")]
    [InlineData("--steps 0: must be a whole number from 1 to 1000", "generate", "x", "--steps", "0")]
    [InlineData("--steps 1.5: must be", "generate", "x", "--steps", "1.5")]
    [InlineData("--steps 1,0: must be", "generate", "x", "--steps", "1,0")]
    [InlineData("--guidance 4,5: must be a number", "generate", "x", "--guidance", "4,5")]
    [InlineData("--out: names no folder", "generate", "x", "--out", "")]
    [InlineData("--seed -1: must be", "generate", "x", "--seed", "-1")]
    [InlineData("--guidance NaN: must be a number from 0 to 100", "generate", "x", "--guidance", "NaN")]
    [InlineData("--images 0: must be", "generate", "x", "-n", "0")]
    [InlineData("--size 64x: must be a side such as 64", "generate", "x", "--size", "64x")]
    [InlineData("--format gif: must be png, jpg or webp", "generate", "x", "--format", "gif")]
    [InlineData("--dtype int8: must be float32 or bfloat16", "generate", "x", "--dtype", "int8")]
    [InlineData("--device mps: must be cpu, cuda, or cuda: and a number, such as cuda:1", "generate", "x", "--device", "mps")]
    [InlineData("--device nonsense: must be cpu", "serve", "--redis", "127.0.0.1:1", "--device", "nonsense")]
    [InlineData("--device cpu:0: must be cpu", "job", "run", "x.txt", "--out", "x", "--dry-run", "--device", "cpu:0")]
    [InlineData("the prompt is empty", "generate", " ")]
    [InlineData("--model nosuch: neither a folder nor one of nano", "generate", "x", "--model", "nosuch", "--out", "/tmp")]
    [InlineData("farm: models inspect nosuch: neither a folder nor one of nano", "models", "inspect", "nosuch")]
    [InlineData("there is no such prompt file", "job", "run", "nosuch.txt", "--out", "x")]
    [InlineData("ends in .txt, .jsonl or .csv", "job", "run", "prompts.docx", "--out", "x")]
    [InlineData("--top-p 2: must be", "chat", "x", "--top-p", "2")]
    public void A_wrong_command_line_is_one_line_and_exit_code_2(string expected, params string[] arguments) =>
        Assert.Contains(expected, CliProcess.Run(arguments).OneLineError(2), StringComparison.Ordinal);

    [Theory]
    [InlineData("there is no option --bogus; ./farm --help shows what is right", "--bogus")]
    [InlineData("there is no option --bogus; ./farm keys --help shows what is right", "keys", "--bogus", "1")]
    [InlineData("there is no option --ouut; ./farm job run --help shows what is right", "job", "run", "x.txt", "--ouut", "o")]
    [InlineData("'lst' is no command; there are add, list, revoke", "keys", "lst")]
    [InlineData("generate: PROMPT is missing; ./farm generate --help", "generate")]
    [InlineData("chat: QUESTION is missing", "chat")]
    [InlineData("tenant show: NAME is missing", "tenant", "show")]
    [InlineData("silo scale: SLOTS is missing", "silo", "scale", "x")]
    [InlineData("SLOTS y: must be a whole number from 0 to 1024", "silo", "scale", "x", "y")]
    [InlineData("SLOTS 1025: must be a whole number from 0 to 1024", "silo", "scale", "x", "1025")]
    [InlineData("--family huge: must be ", "models", "random", "x", "--family", "huge")]
#if ORLEANS
    [InlineData("there is no option --port; ./farm silo --help shows what is right", "silo", "--port", "39801")]
    [InlineData("--clustering foo: must be localhost or redis", "silo", "--clustering", "foo")]
#endif
    public void What_cannot_be_read_is_named_as_it_was_typed(string expected, params string[] arguments) =>
        Assert.StartsWith(expected, Failure.Of(RootCommandFactory.Create().Parse(arguments)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_prompt_may_begin_with_an_at_sign_or_come_from_stdin_but_must_be_UTF_8()
    {
        Assert.Contains("--model", CliProcess.Run(["generate", "@home", "--model", "none", "--out", Path.GetTempPath()]).OneLineError(2), StringComparison.Ordinal);
        Assert.Contains("the prompt is empty", CliProcess.Run(["generate", "-"], input: "\n").OneLineError(2), StringComparison.Ordinal);
        Assert.Contains("not UTF-8 at character 2", CliProcess.Run(["generate", "a\uFFFD"]).OneLineError(2), StringComparison.Ordinal);
    }

    [Fact]
    public void Models_lists_licence_size_and_sha256()
    {
        var models = CliProcess.Run("models").Succeeded().Output;
        Assert.Contains("nano: ", models, StringComparison.Ordinal);
        Assert.Contains("SmolLM2-135M-Instruct.Q4_1.gguf, 93.8 MiB, sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", models, StringComparison.Ordinal);
        Assert.Contains("CC-BY-4.0", models, StringComparison.Ordinal);
    }

    [Fact]
    public void A_broken_model_is_listed_with_what_is_wrong()
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["broken"]);
        folder.Write("broken/config.json", """{"model_type": "metaquery", "mllm": "nowhere.gguf"}""");
        var result = CliProcess.Run(["models"], environment: new Dictionary<string, string> { ["METAQUERY_MODELS"] = folder.Path });
        Assert.Equal(5, result.ExitCode);
        Assert.Contains("broken: cannot be used", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Chat_knows_the_capital_of_France()
    {
        var answer = CliProcess.Run("chat", "What is the capital of France?", "--max-tokens", "32", "--dtype", "float32").Succeeded();
        Assert.Contains("Paris", answer.Output, StringComparison.Ordinal);
        Assert.Empty(answer.Error);
    }

    [Fact]
    public void The_exit_codes_of_the_docs_are_those_of_the_code()
    {
        var documented = File.ReadLines(Path.Combine(RepositoryFolders.Root, "docs", "cli.md"))
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
            .Where(cells => cells.Length > 2 && int.TryParse(cells[1], out _))
            .Select(cells => int.Parse(cells[1]))
            .Order();
        var codes = typeof(Farm.ExitCodes).GetFields().Where(f => f.IsLiteral).Select(f => (int)f.GetRawConstantValue()!).Order();
        Assert.Equal(codes, documented);
    }
}
