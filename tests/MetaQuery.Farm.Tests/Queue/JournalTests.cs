using System.Text;
using FsCheck.Xunit;
using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests.Queue;

public sealed class JournalTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    private string Log => _work["farm.log"];

    [Property(MaxTest = 20)]
    public void What_was_appended_is_read_back_in_order(byte[][] payloads)
    {
        string path = _work[Guid.NewGuid().ToString()];
        Write(path, payloads, flush: false);
        Assert.Equal(payloads.Select(Convert.ToHexString), Read(path, out _));
        Write(path, payloads, flush: true);
        Assert.Equal(payloads.Concat(payloads).Select(Convert.ToHexString), Read(path, out _));
    }

    [Fact]
    public void The_form_of_a_record_is_frozen()
    {
        using (FarmJournal journal = FarmJournal.Open(Log, null))
        {
            journal.Append(7, "job"u8);
            journal.Flush();
            journal.Append(8, []);
        }

        Assert.Equal(
            "4D4A0107" + "03000000" + "0000000000000000" + "75992FDD" + "6A6F62" +
            "4D4A0108" + "00000000" + "1700000000000000" + "3B3DF964", Convert.ToHexString(File.ReadAllBytes(Log)));
    }

    [Fact]
    public void Cut_anywhere_it_holds_the_records_before_the_cut_and_goes_on_from_there()
    {
        byte[][] payloads = Payloads(12);
        Write(Log, payloads, flush: true);
        byte[] whole = File.ReadAllBytes(Log);
        long[] ends = Ends(payloads);
        for (int length = 0; length <= whole.Length; length++)
        {
            string path = _work["cut.log"];
            File.WriteAllBytes(path, whole[..length]);
            int left = ends.Count(end => end <= length);
            Assert.Equal(Hex(payloads[..left]), Read(path, out long cut));
            Assert.Equal(length - (left == 0 ? 0 : ends[left - 1]), cut);
            if (length % 16 == 0)
            {
                Write(path, ["new"u8.ToArray()], flush: false);
                Assert.Equal([.. Hex(payloads[..left]), .. Hex(["new"u8.ToArray()])], Read(path, out cut));
                Assert.Equal(0, cut);
            }
        }
    }

    [Fact]
    public void A_flipped_byte_in_what_was_promised_is_an_error_and_never_a_wrong_record()
    {
        byte[][] payloads = Payloads(8);
        Write(Log, payloads, flush: true);
        byte[] whole = File.ReadAllBytes(Log);
        long lastBegins = Ends(payloads)[^2];
        string path = _work["flipped.log"];
        for (int at = 0; at < whole.Length; at++)
        {
            byte[] flipped = [.. whole];
            flipped[at] ^= (byte)(1 << (at % 8));
            File.WriteAllBytes(path, flipped);
            if (at >= lastBegins)
            {
                Assert.Equal(Hex(payloads[..^1]), Read(path, out _)); // nothing after it vouches for the last one
            }
            else
            {
                string message = Assert.Throws<JournalDamagedException>(() => Read(path, out _)).Message;
                Assert.Contains(path, message, StringComparison.Ordinal);
                Assert.Equal(flipped, File.ReadAllBytes(path)); // a person decides: nothing was cut
            }
        }
    }

    [Fact]
    public void A_flipped_byte_in_what_was_not_promised_cuts_there()
    {
        // after a loss of power, pages of one unsynced tail may be on the disk in any order
        byte[][] payloads = Payloads(8);
        Write(Log, payloads, flush: false);
        byte[] whole = File.ReadAllBytes(Log);
        long[] ends = Ends(payloads);
        string path = _work["flipped.log"];
        for (int at = 0; at < whole.Length; at++)
        {
            byte[] flipped = [.. whole];
            flipped[at] ^= (byte)(1 << (at % 8));
            File.WriteAllBytes(path, flipped);
            Assert.Equal(Hex(payloads[..ends.Count(end => end <= at)]), Read(path, out _));
        }
    }

    [Fact]
    public void Zeros_and_noise_after_the_end_are_cut()
    {
        byte[][] payloads = Payloads(3);
        foreach (byte[] tail in (byte[][])[new byte[4096], Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("MJ", 100)))])
        {
            string path = _work[Guid.NewGuid().ToString()];
            Write(path, payloads, flush: true);
            File.AppendAllBytes(path, tail);
            Assert.Equal(Hex(payloads), Read(path, out long cut));
            Assert.Equal(tail.Length, cut);
        }
    }

    [Fact]
    public void A_compaction_replaces_all_records_and_damage_in_it_is_found()
    {
        byte[][] payloads = Payloads(20);
        using (FarmJournal journal = FarmJournal.Open(Log, null))
        {
            Array.ForEach(payloads, payload => journal.Append(1, payload));
            journal.Compact(payloads[..5].Select(payload => ((byte)2, (ReadOnlyMemory<byte>)payload)));
            Assert.Equal(new FileInfo(Log).Length, journal.Bytes);
        }

        Assert.Equal(Hex(payloads[..5]), Read(Log, out _));
        Assert.Equal([Path.GetFileName(Log)], Directory.EnumerateFiles(_work.Root).Select(Path.GetFileName));
        byte[] whole = File.ReadAllBytes(Log);
        for (int at = 0; at < whole.Length - JournalRecord.HeaderBytes; at++) // the last record is the mark itself
        {
            byte[] flipped = [.. whole];
            flipped[at] ^= 0x10;
            File.WriteAllBytes(Log, flipped);
            Assert.Throws<JournalDamagedException>(() => Read(Log, out _));
        }

        File.WriteAllBytes(Log, whole);
        Write(Log, payloads[5..7], flush: true);
        Assert.Equal(Hex(payloads[..7]), Read(Log, out _));
    }

    [Fact]
    public void A_compaction_that_fails_leaves_the_old_records()
    {
        byte[][] payloads = Payloads(5);
        using (FarmJournal journal = FarmJournal.Open(Log, null))
        {
            Array.ForEach(payloads, payload => journal.Append(1, payload));
            Assert.Throws<InvalidOperationException>(() => journal.Compact(Broken()));
            journal.Append(1, payloads[0]);
        }

        Assert.Equal(Hex([.. payloads, payloads[0]]), Read(Log, out _));

        IEnumerable<(byte, ReadOnlyMemory<byte>)> Broken()
        {
            yield return (1, payloads[0]);
            throw new InvalidOperationException("the caller's own");
        }
    }

    [Fact]
    public void Records_of_a_newer_version_are_refused_and_left_alone()
    {
        Write(Log, Payloads(2), flush: true);
        byte[] newer = JournalRecord.Encode(1, "from the future"u8, 0, version: 2);
        File.AppendAllBytes(Log, newer);
        byte[] before = File.ReadAllBytes(Log);
        Assert.Contains("version 2", Assert.Throws<JournalDamagedException>(() => Read(Log, out _)).Message, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(Log));
    }

    [Fact]
    public async Task Threads_that_flush_at_once_share_syncs_and_lose_nothing()
    {
        const int Threads = 8;
        using (FarmJournal journal = FarmJournal.Open(Log, null))
        {
            using var appended = new CountdownEvent(Threads);
            journal.BeforeSync = () => Assert.True(appended.Wait(TimeSpan.FromSeconds(60))); // the first sync lasts until every thread waits for one
            await Task.WhenAll(Enumerable.Range(0, Threads).Select(thread => Task.Factory.StartNew(
                () =>
                {
                    for (int i = 0; i < 50; i++)
                    {
                        journal.Append(1, Encoding.ASCII.GetBytes($"{thread} {i}"));
                        if (i == 0)
                        {
                            appended.Signal();
                        }

                        journal.Flush();
                    }
                },
                CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
            Assert.InRange(journal.Syncs, 1, 1 + 400 - (Threads - 2)); // one at the opening; the first round takes two instead of eight
            journal.BeforeSync = null;
        }

        string[] records = [.. Read(Log, out _).Select(hex => Encoding.ASCII.GetString(Convert.FromHexString(hex)))];
        Assert.Equal(400, records.Distinct().Count());
        Assert.All(records.GroupBy(record => record[0]), one => Assert.Equal(Enumerable.Range(0, 50), one.Select(record => int.Parse(record[2..]))));
    }

    [Fact]
    public void A_full_disk_is_an_error_that_leaves_whole_records_and_can_be_tried_again()
    {
        using SmallDisk? disk = SmallDisk.TryMount(_work["small"], 64, out string? why);
        if (disk is null)
        {
            Console.WriteLine($"not covered here: {why}");
            return;
        }

        string path = Path.Combine(_work["small"], "farm.log");
        var written = new List<byte[]>();
        using (FarmJournal journal = FarmJournal.Open(path, null))
        {
            StorageException full = Assert.Throws<StorageException>(() => Fill(journal));
            Assert.Equal(StorageFault.DiskFull, full.Fault);
            Assert.Throws<StorageException>(() => journal.Compact(written.Select(payload => ((byte)1, (ReadOnlyMemory<byte>)payload))));
            Assert.Equal(Hex(written), Read(path, out long cut));
            Assert.Equal(0, cut);
            disk.Grow(1024);
            journal.Append(1, "more"u8);
            written.Add("more"u8.ToArray());
            journal.Compact(written[^3..].Select(payload => ((byte)1, (ReadOnlyMemory<byte>)payload)));
        }

        Assert.Equal(Hex(written[^3..]), Read(path, out _));

        void Fill(FarmJournal journal)
        {
            var random = new Random(1);
            while (true)
            {
                var payload = new byte[random.Next(1, 3000)];
                random.NextBytes(payload);
                journal.Append(1, payload);
                journal.Flush();
                written.Add(payload);
            }
        }
    }

    [Fact]
    public void After_a_sync_that_failed_nothing_is_promised_until_all_is_written_anew()
    {
        byte[][] payloads = Payloads(5);
        using (FarmJournal journal = FarmJournal.Open(Log, null))
        {
            journal.Append(1, payloads[0]);
            journal.Flush();
            journal.BeforeSync = () => throw new IOException("the disk is gone", 5);
            journal.Append(1, payloads[1]);
            Assert.Throws<StorageException>(journal.Flush);
            journal.BeforeSync = null; // a second sync would succeed, and mean nothing
            Assert.True(journal.IsBroken);
            Assert.Throws<StorageException>(journal.Flush);
            Assert.Throws<StorageException>(() => journal.Append(1, payloads[2]));
            journal.Compact(payloads[..2].Select(payload => ((byte)1, (ReadOnlyMemory<byte>)payload)));
            Assert.False(journal.IsBroken);
            journal.Append(1, payloads[2]);
            journal.Flush();
        }

        Assert.Equal(Hex(payloads[..3]), Read(Log, out _));
    }

    [Fact]
    public void A_payload_of_another_kind_than_1_to_255_or_too_large_is_refused()
    {
        using FarmJournal journal = FarmJournal.Open(Log, null);
        Assert.Throws<ArgumentOutOfRangeException>(() => journal.Append(0, "x"u8));
        Assert.Throws<ArgumentOutOfRangeException>(() => journal.Append(1, new byte[FarmJournal.MaxPayloadBytes + 1]));
        Assert.Equal(0, journal.Bytes);
    }

    [Fact]
    public void A_compaction_with_a_record_that_no_reader_would_take_is_refused_and_the_old_records_stand()
    {
        byte[][] payloads = Payloads(3);
        using (FarmJournal journal = FarmJournal.Open(Log, null))
        {
            journal.Append(1, payloads[0]);
            Assert.Throws<ArgumentOutOfRangeException>(() => journal.Compact([(1, payloads[2]), (1, new byte[FarmJournal.MaxPayloadBytes + 1])]));
            journal.Append(1, payloads[1]);
        }

        Assert.Equal(Hex(payloads[..2]), Read(Log, out _));
    }

    private static byte[][] Payloads(int count) => [.. Enumerable.Range(0, count).Select(i => Encoding.ASCII.GetBytes(new string((char)('a' + i), i * 5 % 23)))];

    private static long[] Ends(byte[][] payloads)
    {
        long end = 0;
        return [.. payloads.Select(payload => end += JournalRecord.HeaderBytes + payload.Length)];
    }

    private static string[] Hex(IEnumerable<byte[]> payloads) => [.. payloads.Select(Convert.ToHexString)];

    private static void Write(string path, byte[][] payloads, bool flush)
    {
        using FarmJournal journal = FarmJournal.Open(path, null);
        foreach (byte[] payload in payloads)
        {
            journal.Append(1, payload);
            if (flush)
            {
                journal.Flush();
            }
        }
    }

    private static List<string> Read(string path, out long cut)
    {
        var records = new List<string>();
        using FarmJournal journal = FarmJournal.Open(path, (_, payload) => records.Add(Convert.ToHexString(payload)));
        cut = journal.CutBytes;
        return records;
    }
}
