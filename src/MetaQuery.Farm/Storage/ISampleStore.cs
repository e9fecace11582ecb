using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A finished sample's three files.</summary>
/// <param name="Position">Its place in the whole job, from 0.</param>
/// <param name="Image">The picture's file.</param>
/// <param name="Caption">The .txt, UTF-8.</param>
/// <param name="Json">The .json, UTF-8.</param>
public readonly record struct FinishedSample(
    long Position, ReadOnlyMemory<byte> Image, ReadOnlyMemory<byte> Caption, ReadOnlyMemory<byte> Json);

/// <summary>Where a job's samples are committed, by position: committing one twice changes nothing.</summary>
public interface ISampleStore
{
    /// <summary>Committed or given up: nothing is left to do for it. May be asked while another thread adds.</summary>
    bool IsSettled(long position);

    /// <exception cref="StorageException">It could not be written.</exception>
    void Add(FinishedSample sample);

    /// <exception cref="StorageException">It could not be written.</exception>
    void Fail(long position, FailedSample failure);

    /// <summary>Makes what was added last through a loss of power (through the end of this process it lasts already).</summary>
    /// <exception cref="StorageException">It could not be written.</exception>
    void Flush();
}
