using MetaQuery.Farm;

namespace MetaQuery.Silo.Tests;

/// <summary>Where is computed, as a caller writes it.</summary>
public sealed class DeviceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-device-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("CPU")]
    [InlineData("cpu:0")]
    public void The_CPU_has_its_defaults_however_it_is_written(string device)
    {
        Assert.Equal((LocalModel.DefaultDtype(), LocalModel.DefaultSlots(1)), (LocalModel.DefaultDtype(device), LocalModel.DefaultSlots(1, device)));
        Assert.Equal(("bfloat16", 1), (LocalModel.DefaultDtype("cuda:1"), LocalModel.DefaultSlots(1, "cuda:1")));
    }

    [Theory]
    [InlineData("nonsense")]
    [InlineData("meta")]
    [InlineData("cuda:x")]
    public void Another_device_is_refused_in_one_line(string device)
    {
        var refused = Assert.Throws<JobSpecException>(() => LocalModel.DefaultDtype(device));
        Assert.Contains(device.Split(':')[0], refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
    }

    [Fact]
    public void A_heads_own_language_model_is_loaded_where_it_is_told_to_compute()
    {
        string model = Path.Combine(_folder, "tiny");
        RandomModels.Write(model, "tiny", "bfloat16", 0, static _ => { });
        var refused = Assert.Throws<JobSpecException>(() => ChatService.Load(model, "revision", null, threads: 1, slots: 1, "cuda:99"));
        Assert.Contains("device cuda:99: this libtorch sees", refused.Message, StringComparison.Ordinal);
    }
}
