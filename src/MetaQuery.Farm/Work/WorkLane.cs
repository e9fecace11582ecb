using System.Security.Cryptography;
using System.Text;

namespace MetaQuery.Farm;

/// <summary>Slots of one lane give the same bits: same model, same numerics. A job keeps to the lane it began in.</summary>
public static class WorkLane
{
    /// <summary>The lane's name: 16 hexadecimal digits of a SHA-256 over model revisions and numerics. Frozen by a test.</summary>
    public static string Of(ConditionIdentity conditions, ImageModelInfo images)
    {
        ArgumentNullException.ThrowIfNull(conditions);
        ArgumentNullException.ThrowIfNull(images);
        string key = ConditionKey.Create(conditions, new ConditionRequest("")).ToString();
        byte[] text = Encoding.UTF8.GetBytes($"metaquery-lane 1\n{key}\n{images.ModelRevision}\n{images.Numerics}\n");
        return Convert.ToHexStringLower(SHA256.HashData(text).AsSpan(0, 8));
    }
}
