using System.Buffers.Binary;
using System.Security.Cryptography;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>What the pictures of a job's prompts are, in the order of the prompts: written when the job is taken, read as its prompts are.</summary>
/// <remarks>
/// Version 1, frozen by a test: the bytes <c>MQPICS</c> and the version; then per prompt that names pictures the length of its record (int32,
/// little-endian) and the record: the prompt's index, how many pictures, each one's hash (32 bytes), width and height, and the fault's text, empty for none.
/// </remarks>
internal sealed class PictureIndex
{
    /// <summary>In a job's folder.</summary>
    public const string FileName = "pictures.index";

    private const byte Version = 1;
    private const int MaxRecordBytes = 1 << 20;

    private readonly string? _path;
    private readonly byte[] _bytes;

    private PictureIndex(string? path, byte[] bytes) => (_path, _bytes) = (path, bytes);

    private static ReadOnlySpan<byte> Magic => "MQPICS"u8;

    /// <summary>The one of a job's folder; null where there is none.</summary>
    public static PictureIndex? Find(string jobFolder) =>
        Path.Combine(jobFolder, FileName) is var path && File.Exists(path) ? new PictureIndex(path, []) : null;

    /// <summary>Every record. One reader at a time walks with the prompts; each call begins anew.</summary>
    /// <exception cref="PromptFileException">It cannot be read, or is not what was written.</exception>
    public IEnumerable<(long PromptIndex, LinePictures Pictures)> Read()
    {
        using Stream stream = Open();
        byte[] head = new byte[Magic.Length + 1];
        if (stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) < head.Length || !head.AsSpan(0, Magic.Length).SequenceEqual(Magic) || head[^1] != Version)
        {
            throw Damaged($"it begins otherwise, or has a version that is not {Version}");
        }

        byte[] length = new byte[sizeof(int)];
        while (stream.ReadAtLeast(length, length.Length, throwOnEndOfStream: false) is > 0 and var count)
        {
            int bytes = BinaryPrimitives.ReadInt32LittleEndian(length);
            if (count < length.Length || bytes is < 0 or > MaxRecordBytes)
            {
                throw Damaged("a record's length makes no sense");
            }

            byte[] record = new byte[bytes];
            if (stream.ReadAtLeast(record, bytes, throwOnEndOfStream: false) < bytes)
            {
                throw Damaged("it is cut");
            }

            yield return Parse(record);
        }
    }

    private Stream Open()
    {
        try
        {
            return _path is null ? new MemoryStream(_bytes) : new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new PromptFileException($"{_path}: cannot be read: {exception.Message}", exception);
        }
    }

    private (long, LinePictures) Parse(byte[] record)
    {
        try
        {
            var reader = new WireReader(record, "a record of pictures");
            long prompt = reader.Number();
            int count = reader.Int32();
            var pictures = new List<LinePicture>();
            for (int i = 0; i < count; i++)
            {
                pictures.Add(reader.Picture());
            }

            string fault = reader.Text();
            reader.End();
            return (prompt, new LinePictures(pictures, fault.Length == 0 ? null : fault));
        }
        catch (WireFormatException exception)
        {
            throw Damaged(exception.Message);
        }
    }

    private PromptFileException Damaged(string how) => new($"{_path ?? "the pictures' index"}: is damaged: {how}");

    /// <summary>Writes an index, prompt by prompt.</summary>
    public sealed class Writer : IDisposable
    {
        private readonly AtomicFile? _file;
        private readonly Stream _stream;
        private readonly IncrementalHash _digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly WireWriter _record = new();
        private readonly byte[] _length = new byte[sizeof(int)];

        /// <param name="path">Null for memory.</param>
        /// <param name="keeps">False where only the digest is wanted.</param>
        /// <exception cref="StorageException">It cannot be written.</exception>
        public Writer(string? path, bool keeps = true)
        {
            _file = path is null || !keeps ? null : AtomicFile.Create(path);
            _stream = _file?.Stream ?? (keeps ? new MemoryStream() : Stream.Null);
            Write([.. Magic, Version]);
        }

        /// <exception cref="StorageException">It cannot be written.</exception>
        public void Add(long promptIndex, LinePictures pictures)
        {
            _record.Clear();
            _record.Number(promptIndex);
            _record.Number(pictures.Pictures.Count);
            foreach (LinePicture picture in pictures.Pictures)
            {
                _record.Picture(picture);
            }

            _digest.AppendData(_record.Written.Span); // the words of a fault are no part of what a job is
            _record.Text(pictures.Fault ?? "");
            BinaryPrimitives.WriteInt32LittleEndian(_length, _record.Written.Length);
            Write(_length);
            Write(_record.Written.Span);
        }

        /// <returns>The index, and SHA-256 over all pictures (lower-case hex).</returns>
        /// <exception cref="StorageException">It cannot be written.</exception>
        public (PictureIndex Index, string Digest) Commit()
        {
            _file?.Commit();
            return (new PictureIndex(_file?.FinalPath, (_stream as MemoryStream)?.ToArray() ?? []), Convert.ToHexStringLower(_digest.GetHashAndReset()));
        }

        public void Dispose()
        {
            _file?.Dispose();
            _digest.Dispose();
        }

        private void Write(ReadOnlySpan<byte> bytes)
        {
            try
            {
                _stream.Write(bytes);
            }
            catch (IOException exception)
            {
                throw StorageException.From(exception, _file?.FinalPath ?? "memory");
            }
        }
    }
}
