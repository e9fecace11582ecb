using System.Text.Json;
using MetaQuery.Imaging;
using MetaQuery.TestKit;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The pictures that a case names: a file, a file that is cropped first, or nothing for a black picture.</summary>
internal static class CaseImages
{
    public static RgbImage Load(ParityCase parityCase, JsonElement image)
    {
        if (image.ValueKind == JsonValueKind.String)
            return ImageDecoder.DecodeFile(parityCase.PathOf(image.GetString()!));
        if (image.GetProperty("file").GetString() is not { } file)
            return new RgbImage(image.GetProperty("width").GetInt32(), image.GetProperty("height").GetInt32());
        var loaded = ImageDecoder.DecodeFile(parityCase.PathOf(file));
        return image.TryGetProperty("resizeAndCenterCrop", out var crop) && crop.ValueKind == JsonValueKind.Number
            ? ImageTransforms.CenterCrop(ImageTransforms.ResizeShorterSide(loaded, crop.GetInt32()), crop.GetInt32())
            : loaded;
    }

    public static string Name(JsonElement image) => image.ValueKind == JsonValueKind.String ? image.GetString()! : image.GetProperty("file").GetString()!;

    /// <summary>The tolerance that a case states beside the general one.</summary>
    public static ParityTolerance Tolerance(ParityCase parityCase, string name)
    {
        var stated = parityCase.Json.GetProperty(name);
        return new ParityTolerance(stated.GetProperty("atol").GetDouble(), stated.GetProperty("rtol").GetDouble());
    }
}
