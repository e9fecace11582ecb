using FsCheck.Xunit;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests.Queue;

public sealed class WorkItemCodecTests
{
    public static TheoryData<string> Names() => ["encode", "encode with pictures", "encode with a time limit", "denoise", "denoise with everything", "denoise with pictures"];

    [Theory]
    [MemberData(nameof(Names))]
    public void An_item_is_read_back_as_it_was_written(string name)
    {
        WorkItem item = Item(name);
        WorkItem read = WorkItemCodec.Read(WorkItemCodec.ToBytes(item));
        Assert.Equal(WorkItemCodec.ToBytes(item), WorkItemCodec.ToBytes(read));
        if (item is DenoiseItem denoise)
        {
            // a prompt's line is compared field by field, the rest at once
            Assert.Equivalent(denoise.Prompt, ((DenoiseItem)read).Prompt, strict: true);
            Assert.Equal(item, (DenoiseItem)read with { Prompt = denoise.Prompt });
            Assert.Equal(denoise.Prompt.Pictures, ((DenoiseItem)read).Prompt.Pictures);
        }
        else
        {
            Assert.Equivalent(item, read, strict: true);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Cut_or_lengthened_bytes_are_refused(string name)
    {
        byte[] bytes = WorkItemCodec.ToBytes(Item(name));
        Assert.All(Enumerable.Range(0, bytes.Length), length => Assert.Throws<WireFormatException>(() => WorkItemCodec.Read(bytes.AsSpan(0, length))));
        Assert.Throws<WireFormatException>(() => WorkItemCodec.Read([.. bytes, 0]));
        bytes[0]++;
        Assert.Contains("version 2", Assert.Throws<WireFormatException>(() => WorkItemCodec.Read(bytes)).Message, StringComparison.Ordinal);
    }

    [Property(MaxTest = 2000)]
    public void Noise_is_refused_or_read_but_nothing_else(byte[] noise)
    {
        byte[] bytes = WorkItemCodec.ToBytes(Items.Full());
        for (int i = 0; i + 1 < noise.Length; i += 2)
        {
            bytes[noise[i] % bytes.Length] = noise[i + 1];
        }

        try
        {
            Assert.NotNull(WorkItemCodec.Read(bytes).Id);
        }
        catch (WireFormatException exception)
        {
            Assert.DoesNotContain('\n', exception.Message);
        }
    }

    [Fact]
    public void The_forms_are_frozen()
    {
        Assert.Equal(
            "01010104AC02C03A9314635905F0373D26E85B88447559B8F2A1B48F4B9BC276F166B83954E90865696E2042C3A47202026161026262",
            Convert.ToHexString(WorkItemCodec.ToBytes(Item("encode with pictures"))));
        Assert.Equal(
            "0102010302066A6F625F303187AD4B0F30303030305F3030303132333435363F07051565696E2042C3A472206D69742048757420F09F90BB" +
            "023432FFFFFFFFFFFFFFFF1E0000204006626C757272790E22776569676874223A20302E35301E0000204006626C7572727903EFCDAB8967" +
            "452301B5A3848914FE8880FA1208A468A8BB9070332201604E3F4846D35F5919DBAACF015F1F17FC794A49916B1B044777E2876AC8BBEE10" +
            "FA9C51DC3F292ECBE447542D8004800620025080D293AD03",
            Convert.ToHexString(WorkItemCodec.ToBytes(Items.Full())));
        string before = Convert.ToHexString(WorkItemCodec.ToBytes(Items.Denoise("j", 7)));
        string after = Convert.ToHexString(WorkItemCodec.ToBytes(Items.WithPictures()));
        Assert.Equal(before[..6] + "08" + before[8..] + "02" + new string('A', 64) + "AC02C801" + new string('B', 64) + "0102" + "00002040" + "01" + Items.Key("images"), after, ignoreCase: true);
        Assert.Equal(
            "010307642F6A2F333030020301087A752067726FC39F",
            Convert.ToHexString(new FaultRecord("d/j/300", 2, 3, 1, IsSingly: true, IsQuarantined: true, "zu groß").ToBytes()));
    }

    private static WorkItem Item(string name) => name switch
    {
        "encode" => Items.Encode("a cat"),
        "encode with pictures" => new EncodeItem(Items.Key("ein Bär"), new ConditionRequest("ein Bär", ["aa", "bb"]), KeepOnDisk: true) { Priority = JobPriority.Interactive, Attempt = 300 },
        "encode with a time limit" => Items.Encode("a cat") with { Timeout = TimeSpan.FromSeconds(90) },
        "denoise" => Items.Denoise("j", 7),
        "denoise with pictures" => Items.WithPictures(),
        _ => Items.Full(),
    };
}
