namespace MetaQuery.Farm;

/// <summary>Seeds per image: never of the batch, the worker or the time.</summary>
/// <remarks>
/// Each word is absorbed by state = Mix(state ^ Mix(word + γ)), where Mix is SplitMix64's finaliser
/// (Steele, Lea, Flood 2014; multipliers of Stafford's variant 13) and γ = 0x9E3779B97F4A7C15. The state starts as a
/// constant that tells the two kinds of seed apart. Frozen by a test: a change would change every image.
/// </remarks>
public static class ImageSeed
{
    private const ulong Gamma = 0x9E37_79B9_7F4A_7C15;
    private const ulong JobDomain = 0x4D51_4A4F_4253_4544; // "MQJOBSED"
    private const ulong LineDomain = 0x4D51_4C49_4E53_4544; // "MQLINSED"

    /// <summary>The seed of a prompt's sample under the job's seed.</summary>
    /// <param name="jobSeed">The job's seed.</param>
    /// <param name="promptIndex">The prompt's place among the file's valid prompts, from 0.</param>
    /// <param name="sampleIndex">Which of the prompt's images, from 0.</param>
    public static ulong ForPrompt(ulong jobSeed, long promptIndex, int sampleIndex)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(promptIndex);
        ArgumentOutOfRangeException.ThrowIfNegative(sampleIndex);
        return Absorb(Absorb(Absorb(JobDomain, jobSeed), (ulong)promptIndex), (ulong)sampleIndex);
    }

    /// <summary>The seed of a sample whose prompt line has a seed of its own: it replaces the job's seed and the line's place.</summary>
    public static ulong ForLine(ulong lineSeed, int sampleIndex)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(sampleIndex);
        return Absorb(Absorb(LineDomain, lineSeed), (ulong)sampleIndex);
    }

    private static ulong Absorb(ulong state, ulong word) => Mix(state ^ Mix(word + Gamma));

    private static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9;
        value = (value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB;
        return value ^ (value >> 31);
    }
}
