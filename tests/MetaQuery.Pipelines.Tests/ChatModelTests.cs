using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>What a server adds to a chat: whole conversations, stops, counts, shared weights.</summary>
[LeakCheck]
[Collection(nameof(NanoText))]
public sealed class ChatModelTests(NanoText nano)
{
    private const string Capital = "What is the capital of France?";

    private static ChatTurn Turn(string role, string text) => new(role, [ChatTurnPart.Of(text)]);

    [Fact]
    public void A_conversation_stated_whole_is_answered_as_one_that_was_asked_turn_by_turn()
    {
        using var asked = nano.Text.Chat.NewSession(new ChatOptions(MaxNewTokens: 16));
        var first = string.Concat(asked.Ask(Capital));
        var second = string.Concat(asked.Ask("And of Italy?"));
        using var stated = nano.Text.Chat.NewSession(new ChatOptions(MaxNewTokens: 16));
        Assert.Equal(second, string.Concat(stated.Answer([Turn("user", Capital), Turn("assistant", first), Turn("user", "And of Italy?")])));
        Assert.Equal(asked.PromptTokens, stated.PromptTokens);
    }

    [Fact]
    public void It_says_why_an_answer_ended_and_counts_its_tokens()
    {
        using var whole = nano.Text.Chat.NewSession();
        var answer = string.Concat(whole.Ask(Capital));
        Assert.Equal(ChatEnd.Stop, whole.End);
        Assert.Equal(nano.Text.Tokenizer.EncodeToIds(answer).Count, whole.AnswerTokens);
        using var cut = nano.Text.Chat.NewSession(new ChatOptions(MaxNewTokens: 3));
        Assert.StartsWith(string.Concat(cut.Ask(Capital)), answer, StringComparison.Ordinal);
        Assert.Equal((ChatEnd.Length, 3, whole.PromptTokens), (cut.End, cut.AnswerTokens, cut.PromptTokens));
        using var left = nano.Text.Chat.NewSession();
        foreach (var _ in left.Ask(Capital))
            break;
        Assert.Equal(ChatEnd.None, left.End);
    }

    [Fact]
    public void An_answer_ends_before_a_stop_text_that_spans_tokens()
    {
        using var whole = nano.Text.Chat.NewSession();
        var answer = string.Concat(whole.Ask(Capital));
        Assert.Equal("The capital of France is Paris.", answer);
        using var session = nano.Text.Chat.NewSession(new ChatOptions(Stop: ["Italy", "ce is Pa"]));
        Assert.Equal("The capital of Fran", string.Concat(session.Ask(Capital)));
        Assert.Equal(ChatEnd.Stop, session.End);
    }

    [Theory]
    [InlineData("abcabd", "abd", "abc")]
    [InlineData("aaab", "aab", "a")]
    [InlineData("no stop here", "stop!", "no stop here")]
    [InlineData("ends with sto", "stop", "ends with sto")]
    public void A_stop_text_is_found_however_the_text_is_cut(string text, string stop, string expected)
    {
        for (var cuts = 0; cuts < 1 << (text.Length - 1); cuts++)
        {
            var filter = new StopTexts([stop]);
            var (given, start) = ("", 0);
            for (var i = 1; i <= text.Length; i++)
            {
                if (i == text.Length || (cuts >> (i - 1) & 1) == 1)
                {
                    given += filter.Add(text[start..i]);
                    start = i;
                }
            }

            given += filter.Finish();
            Assert.Equal((expected, expected != text), (given, filter.HasCome));
        }
    }

    [Fact]
    public void A_long_prompt_is_read_in_pieces_with_the_bits_of_one_go()
    {
        var question = string.Concat(Enumerable.Repeat("The sea is wide and blue. ", 200)) + "What is wide?";
        using var session = nano.Text.Chat.NewSession(new ChatOptions(MaxNewTokens: 8));
        var answer = string.Concat(session.Ask(question));
        Assert.True(session.PromptTokens > 1024, $"{session.PromptTokens} tokens are too few for three pieces");

        var turns = new ChatTurns(nano.Text.Template);
        var ids = nano.Text.Tokenizer.EncodeToIds(turns.Template.RenderSegments([turns.Turn("user", question, isTrusted: false)], addGenerationPrompt: true)).Select(id => (long)id).ToArray();
        using var scope = NewDisposeScope();
        using var mode = inference_mode();
        using var whole = new Continuation(nano.Text.Model.Decoder);
        var logits = whole.Read(new PromptTokens(ids));
        using var pieces = new Continuation(nano.Text.Model.Decoder);
        pieces.Read(new PromptTokens(ids[..512]));
        pieces.Read(new PromptTokens(ids[512..1024]));
        Assert.Equal(logits.data<float>().ToArray(), pieces.Read(new PromptTokens(ids[1024..])).data<float>().ToArray());
        List<int> expected = [];
        for (var i = 0; i < 8; i++)
        {
            expected.Add((int)logits.argmax(-1).item<long>());
            logits = whole.Read(new PromptTokens([expected[^1]]));
        }

        Assert.StartsWith(answer, nano.Text.Tokenizer.Decode(expected), StringComparison.Ordinal);
        Assert.NotEmpty(answer);
    }

    [Fact]
    public void Who_leaves_while_the_prompt_is_read_is_let_go_between_two_pieces()
    {
        using var session = nano.Text.Chat.NewSession();
        Assert.Throws<OperationCanceledException>(() => session.Ask(string.Concat(Enumerable.Repeat("word ", 2000)), new CancellationToken(canceled: true)).First());
    }

    [Fact]
    public void Answers_are_the_same_before_while_and_after_conditions_are_made()
    {
        string Drawn()
        {
            using var session = nano.Text.Chat.NewSession(new ChatOptions(Temperature: 0.9, TopP: 0.9, Seed: 11, MaxNewTokens: 12));
            return string.Concat(session.Ask("Write a line about the sea."));
        }

        using var encoder = new ConditionEncoder(nano.Text.Model, nano.Text.Prompt);
        var (answer, condition) = (Drawn(), encoder.Encode(["red heart, noto style"])[0]);
        var answers = new string[3];
        var conditions = new byte[3][];
        var chatting = new Thread(() =>
        {
            for (var i = 0; i < answers.Length; i++)
                answers[i] = Drawn();
        });
        chatting.Start();
        for (var i = 0; i < conditions.Length; i++)
            conditions[i] = encoder.Encode(["red heart, noto style"])[0];
        chatting.Join();
        Assert.All(answers, same => Assert.Equal(answer, same));
        Assert.All(conditions, same => Assert.Equal(condition, same));
        Assert.Equal(answer, Drawn());
    }

    [Theory]
    [InlineData("metaquery-condition-qwenvl")]
    [InlineData("metaquery-condition-llavaov")]
    public void Chat_and_conditions_share_one_tower_each_at_its_own_limits(string name)
    {
        using var tiny = new TinyModelFolder(name);
        var picture = ImageConditionTests.Picture(60, 60, 1);
        using var alone = ChatModel.Load(tiny.Folder);
        string Answer(ChatModel chat)
        {
            using var session = chat.NewSession(new ChatOptions(MaxNewTokens: 6), withImages: true);
            return string.Concat(session.Ask("What is shown?", [picture]));
        }

        var expected = Answer(alone);
        using var text = TextModel.Load(tiny.Folder);
        Assert.True(text.Chat.ReadsImages);
        Assert.Equal(expected, Answer(text.Chat));
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        var condition = encoder.Encode([new ConditionPrompt("make it blue", [picture])])[0];
        Assert.Equal(expected, Answer(text.Chat));
        Assert.Equal(condition, encoder.Encode([new ConditionPrompt("make it blue", [picture])])[0]);
    }

    [Fact]
    public void Several_pictures_stand_where_the_turn_has_them()
    {
        using var tiny = new TinyModelFolder("metaquery-condition-qwenvl");
        using var chat = ChatModel.Load(tiny.Folder);
        var (first, second) = (ImageConditionTests.Picture(60, 60, 1), ImageConditionTests.Picture(90, 60, 2));
        int Tokens(params ChatTurnPart[] parts)
        {
            using var session = chat.NewSession(new ChatOptions(MaxNewTokens: 1), withImages: true);
            _ = session.Answer([new ChatTurn("user", parts)]).ToList();
            return session.PromptTokens;
        }

        var text = Tokens(ChatTurnPart.Of("compare with"));
        var one = Tokens(ChatTurnPart.Of(first), ChatTurnPart.Of("compare with")) - text;
        var other = Tokens(ChatTurnPart.Of(second), ChatTurnPart.Of("compare with")) - text;
        Assert.True(one > 0 && other > one, $"{one} and {other} tokens");
        Assert.Equal(text + one + other, Tokens(ChatTurnPart.Of(first), ChatTurnPart.Of("compare with"), ChatTurnPart.Of(second)));
    }
}
