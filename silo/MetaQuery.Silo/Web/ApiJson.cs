using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using MetaQuery.Client;

namespace MetaQuery.Silo.Web;

/// <summary><see cref="FarmJson"/> as the server writes it: text stays readable and base64 short, since no answer is put into a web page as it is.</summary>
internal static class ApiJson
{
    private static readonly FarmJson Relaxed = new(new JsonSerializerOptions(FarmJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    public static JsonTypeInfo<T> Of<T>(JsonTypeInfo<T> type) => (JsonTypeInfo<T>)Relaxed.GetTypeInfo(type.Type)!;
}
