using System.Text.Json;

namespace MetaQuery.Tokenizers.Tests;

public class ChatTemplateTests
{
    [Fact]
    public void SmolLM2_inserts_its_own_system_turn()
    {
        var prompt = ChatTemplate.Parse(Fixtures.SmolTemplate).Render([ChatMessage.OfText("user", "Hi")], addGenerationPrompt: true);
        Assert.Equal(
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
            prompt);
    }

    [Fact]
    public void A_folder_s_template_is_found()
    {
        var template = ChatTemplate.FromFolder(Path.Combine(Fixtures.Mllm, "metaquery-condition-qwenvl", "mllm"));
        var prompt = template.Render([ChatMessage.OfParts("user", ChatPart.Image, ChatPart.Text("blue"))], addGenerationPrompt: false);
        Assert.EndsWith("<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>blue<|im_end|>\n", prompt, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{{ 1 + 2 * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 / 2 }} {{ 7 % 3 }} {{ 2 ** 3 }}", "7 3 -4 3.5 1 8")]
    [InlineData("{{ 'a' ~ 1 ~ none ~ true }}", "a1NoneTrue")]
    [InlineData("{{ [1, 'a', {'b': 2.0}] }}", "[1, 'a', {'b': 2.0}]")]
    [InlineData("{{ 'x' if missing else 'y' }}{{ missing }}", "y")]
    [InlineData("{% set x = 3 %}{% for i in range(2) %}{% set x = 9 %}{% endfor %}{{ x }}", "3")]
    [InlineData("{% set n = namespace(x=1) %}{% for i in range(2) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "2")]
    [InlineData("{% for i in [3, 4, 5] if i != 4 %}{{ loop.index }}:{{ i }}{% if not loop.last %}, {% endif %}{% else %}none{% endfor %}", "1:3, 2:5")]
    [InlineData("{% for i in [] %}x{% else %}none{% endfor %}", "none")]
    [InlineData("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "a=1;b=2;")]
    [InlineData("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "013")]
    [InlineData("{{ '  a b ' | trim | upper | length }}", "3")]
    [InlineData("{{ 'abc'[::-1] }}{{ 'abc'[1:] }}{{ 'abc'[-1] }}{{ [1,2,3][:2] }}", "cbabcc[1, 2]")]
    [InlineData("{{ 'a,b,c'.split(',')[1] }}{{ 'a-b'.replace('-', '+') }}{{ ' x '.strip() }}{{ 'abc'.startswith('ab') }}", "ba+bxTrue")]
    [InlineData("{{ {'a': [1, none, true], 'é': \"q\\\"\"} | tojson }}", "{\"a\": [1, null, true], \"é\": \"q\\\"\"}")]
    [InlineData("{{ {'a': [1]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ]\n}")]
    [InlineData("{{ [1, 2, 3] | select('odd') | map('string') | join('+') }}", "1+3")]
    [InlineData("{{ [{'t': 'a'}, {'t': 'b'}] | selectattr('t', 'equalto', 'b') | list | length }}", "1")]
    [InlineData("{{ x | default('d') }}{{ 'A' in 'CAB' }}{{ 3 not in [1, 2] }}{{ 1 < 2 < 3 }}", "dTrueTrueTrue")]
    [InlineData("{{ x is defined }}{{ 'a' is string and 1 is not string }}{{ {} is mapping }}{{ none is none }}", "FalseTrueTrueTrue")]
    [InlineData("{% macro f(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, b=2) }}", "[1z][12]")]
    [InlineData("{% set t %}a{{ 1 }}{% endset %}{{ t }}{{ t }}", "a1a1")]
    [InlineData("{% raw %}{{ x }}{% endraw %}{# not this #}", "{{ x }}")]
    [InlineData("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc")]
    [InlineData("a\n  {{- 'b' -}}  \n c", "abc")]
    [InlineData("a {%- if true -%} b {%- endif %} c", "ab c")]
    [InlineData("  {%+ if true %}x{% endif %}", "  x")]
    [InlineData("{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': {'b': 2}}.a.b }}", "12")]
    [InlineData("{{ messages[0]['content'] ~ messages[-1].role }}{{ messages | length }}", "hiuser1")]
    [InlineData("{{ 'It''s' }}{{ \"\\u00e9\\x41\\n\" }}", "ItséA\n")]
    [InlineData("{{ not true or true and 1 == 1.0 }}", "True")]
    [InlineData("{{ ['b', 'A'] | sort | first }}{{ [3, 1] | max }}{{ 'ab' | reverse }}{{ '7' | int + 1 }}", "A3ba8")]
    public void Expressions_and_statements_print_what_jinja2_prints(string template, string expected)
    {
        Assert.Equal(expected, ChatTemplate.Parse(template).Render([ChatMessage.OfText("user", "hi")], addGenerationPrompt: false));
    }

    [Theory]
    [InlineData("a\n{% include 'x' %}", "line 2, column 4", "include")]
    [InlineData("{{ x | nofilter }}", "line 1, column 8", "nofilter")]
    [InlineData("{{ x is notest }}", "line 1, column 9", "notest")]
    [InlineData("{% if x %}", "line 1, column 11", "endif")]
    [InlineData("{% endif %}", "line 1, column 4", "endif")]
    [InlineData("{{ x", "line 1, column 1", "}}")]
    [InlineData("{{ 'x }}", "line 1, column 4", "quote")]
    [InlineData("{{ 1 +  }}", "line 1, column 9", "}}")]
    [InlineData("ab {{ x.y.z }}", "line 1, column 8", "'x' is undefined")]
    [InlineData("{{ 'a' + 1 }}", "line 1, column 8", "string and int")]
    [InlineData("{{ raise_exception('roles must\nalternate') }}", "line 1, column 19", "roles must alternate")]
    [InlineData("{{ range(1000000) }}", "line 1", "100000")]
    [InlineData("{{ 'a' * 9999999 }}", "line 1", "100000")]
    [InlineData("{{ 1 // 0 }}", "line 1", "zero")]
    [InlineData("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "line 1", "calls itself")]
    [InlineData("{{ 'abc'.replace('a') }}", "line 1", "argument")]
    public void What_it_cannot_do_is_one_line_with_the_place(string template, string place, string what)
    {
        var error = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template).Render([], addGenerationPrompt: false));
        Assert.Contains(place, error.Message, StringComparison.Ordinal);
        Assert.Contains(what, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void What_a_user_wrote_stays_marked_through_filters_and_slices()
    {
        var template = ChatTemplate.Parse("<s>{{ messages[0].content | trim }}|{{ messages[0].content[2:4] }}|{{ ('[' ~ messages[0].content.split('c')[1]) | upper }}</s>");
        var segments = template.RenderSegments([ChatMessage.OfText("user", " abcd ")], addGenerationPrompt: false);
        Assert.Equal(
            [
                TextSegment.Trusted("<s>"), TextSegment.Untrusted("abcd"), TextSegment.Trusted("|"), TextSegment.Untrusted("bc"),
                TextSegment.Trusted("|"), TextSegment.Untrusted("[D "), TextSegment.Trusted("</s>"),
            ],
            segments);
    }
}
