namespace MetaQuery.Models;

/// <summary>Arithmetic that a model's modules need, in GFLOP: a multiplication and an addition are two; element-wise work, norms and softmax are not counted.</summary>
/// <remarks>The same counting as tests/fixtures/diffusion/perf-shapes.json (PyTorch's FlopCounterMode), which a test holds it against.</remarks>
public static class ModuleWork
{
    private const double Giga = 1e9;

    /// <summary>The decoder of the language model; attention is counted in full, not halved for the causal mask.</summary>
    /// <param name="tokens">Of one sequence, the queries among them.</param>
    public static double LanguageModel(int hidden, int intermediate, int layers, int heads, int keyHeads, int headSize, long tokens)
    {
        var weights = (double)hidden * ((heads + (2 * keyHeads)) * headSize) + ((double)heads * headSize * hidden) + (3.0 * hidden * intermediate);
        var attention = 2.0 * tokens * heads * headSize;
        return 2 * layers * tokens * (weights + attention) / Giga;
    }

    /// <summary>The connector over N queries, with its projections.</summary>
    public static double Connector(int hidden, int intermediate, int layers, int heads, int output, long queries) =>
        LanguageModel(hidden, intermediate, layers, heads, heads, hidden / heads, queries) + (2 * queries * (((double)hidden * output) + ((double)output * output)) / Giga);

    /// <summary>What Sana's transformer does once per condition: the caption's projection, keys and values.</summary>
    public static double SanaContext(int width, int captionChannels, int crossWidth, int layers, long conditionTokens) =>
        2 * conditionTokens * (((double)captionChannels * width) + ((double)width * width) + (2.0 * layers * width * crossWidth)) / Giga;

    /// <summary>One forward of Sana's transformer for one row, behind <see cref="SanaContext"/>.</summary>
    /// <param name="tokens">Latents of a picture, in patches.</param>
    public static double SanaStep(
        int width, int headSize, int crossWidth, double mlpRatio, int layers, int inChannels, int outChannels, int patch, long tokens, long conditionTokens)
    {
        double hidden = (long)(mlpRatio * width), heads = (double)width / headSize;
        var products = (4.0 * width * width) + (2.0 * width * crossWidth) + (3 * hidden * width);
        // linear attention pads the values by a row of ones, which sums the keys
        var linear = heads * 2 * headSize * (headSize + 1);
        var cross = 2.0 * conditionTokens * crossWidth;
        var depthwise = 9 * 2 * hidden;
        var ends = (double)patch * patch * width * (inChannels + outChannels);
        var embedding = ((256.0 * width) + ((double)width * width) + (6.0 * width * width)) / tokens;
        return 2 * tokens * ((layers * (products + linear + cross + depthwise)) + ends + embedding) / Giga;
    }
}
