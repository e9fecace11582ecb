using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Page.Tests;

/// <summary>The page's modules by themselves, in the browser that runs them.</summary>
public sealed class ModuleTests(Chromium chromium) : PageTest(chromium)
{
    [Fact]
    public async Task Whole_numbers_beyond_2_to_the_53_keep_their_digits_and_strings_are_left_alone()
    {
        await OpenAsync();
        string[] found = await Page.EvaluateAsync<string[]>("""
            async () => {
              const { parseJson, writeJson, jsonText } = await import('/js/json.js');
              const text = '{"seed":18446744073709551615,"small":9007199254740991,"half":1.25e3,"minus":-9007199254740993,"text":"is 18446744073709551615, \\"seed\\": 18446744073709551615"}';
              const value = parseJson(text);
              return [value.seed, typeof value.small, String(value.half), value.minus, value.text, writeJson({ a: 1 }, { seed: '018446744073709551615' }), writeJson({}, { seed: '7' }), jsonText({ prompt: '"seed": "1"', seed: '18446744073709551615' })];
            }
            """);
        Assert.Equal(
            [
                "18446744073709551615", "number", "1250", "-9007199254740993", "is 18446744073709551615, \"seed\": 18446744073709551615", "{\"a\":1,\"seed\":18446744073709551615}", "{\"seed\":7}",
                "{\n  \"prompt\": \"\\\"seed\\\": \\\"1\\\"\",\n  \"seed\": 18446744073709551615\n}",
            ], found);
    }

    [Fact]
    public async Task Events_are_the_same_in_whatever_pieces_they_come()
    {
        await OpenAsync();
        // Every way to cut the text in two, and every byte alone.
        string wrong = await Page.EvaluateAsync<string>("""
            async () => {
              const { EventParser } = await import('/js/events.js');
              const text = 'retry: 2000\n\n: comment\nid: 1\nevent: snapshot\ndata: {"a":\ndata: 1}\n\nid:2\r\ndata:x\r\n\r\nevent: state\rdata: y\r\rdata: lost';
              const all = (pieces) => {
                const parser = new EventParser();
                return JSON.stringify(pieces.flatMap((piece) => parser.push(piece)));
              };
              const expected = JSON.stringify([{ type: 'snapshot', data: '{"a":\n1}', id: '1' }, { type: 'message', data: 'x', id: '2' }, { type: 'state', data: 'y', id: '2' }]);
              for (let cut = 0; cut <= text.length; cut++) {
                const found = all([text.slice(0, cut), text.slice(cut)]);
                if (found !== expected) return `cut at ${cut}: ${found}`;
              }
              return all([...text]) === expected ? '' : `one by one: ${all([...text])}`;
            }
            """);
        Assert.Equal("", wrong);
    }

    [Fact]
    public async Task The_parts_of_a_bar_never_overlap_and_always_make_up_the_whole()
    {
        await OpenAsync();
        string wrong = await Page.EvaluateAsync<string>("""
            async () => {
              const { parts } = await import('/js/ui/job-parts.js');
              let state = 42;
              const random = (most) => (state = (state * 1103515245 + 12345) % 2147483648) % (most + 1);
              for (let i = 0; i < 5000; i++) {
                const images = random(50);
                const written = random(images);
                const failed = random(images - written);
                const denoised = written + random(images - written - failed);
                const encoded = denoised + random(images - denoised);
                const counts = { images, planned: images, encoded, denoised, written, failed };
                const found = parts(counts);
                const sum = found.written + found.failed + found.denoised + found.encoded + found.waiting;
                if (sum !== images || found.written !== written || found.failed !== failed || found.denoised !== denoised - written || Object.values(found).some((part) => part < 0)) return JSON.stringify([counts, found]);
              }
              return '';
            }
            """);
        Assert.Equal("", wrong);
    }

    [Fact]
    public async Task Places_are_read_from_the_address()
    {
        await OpenAsync();
        foreach ((string hash, string expected) in ((string, string)[])
            [
                ("#/", "{\"view\":\"jobs\"}"), ("", "{\"view\":\"jobs\"}"), ("#/workers", "{\"view\":\"workers\"}"),
                ("#/jobs/job_1", "{\"view\":\"job\",\"job\":\"job_1\",\"section\":\"pictures\",\"sample\":null}"),
                ("#/jobs/job_1/samples/17?page=2", "{\"view\":\"job\",\"job\":\"job_1\",\"section\":\"pictures\",\"sample\":17}"),
                ("#/jobs/a%2Fb/failures", "{\"view\":\"job\",\"job\":\"a/b\",\"section\":\"failures\",\"sample\":null}"),
                ("#/jobs/%E0%A4%A/nothing", "{\"view\":\"missing\"}"), ("#/elsewhere", "{\"view\":\"missing\"}"),
            ])
        {
            Assert.Equal(expected, await Page.EvaluateAsync<string>("async (hash) => { const { params, ...rest } = (await import('/js/router.js')).parse(hash); return JSON.stringify(rest); }", hash));
        }
    }

    private async Task OpenAsync()
    {
        FarmTestHost host = await ServeAsync();
        await GoAsync(host);
    }
}
