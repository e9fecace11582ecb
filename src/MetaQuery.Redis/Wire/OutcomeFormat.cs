using MetaQuery.Farm;

namespace MetaQuery.Redis;

/// <summary>Where a finished sample lies: a record of a file in the inbox folder.</summary>
/// <param name="File">The file's name.</param>
/// <param name="Offset">Where its record begins.</param>
/// <param name="Position">The sample's place in its job, which the record must repeat.</param>
internal readonly record struct InboxPlace(string File, long Offset, long Position);

/// <summary>A <see cref="WorkOutcome"/> as it lies in the stream of reports. Version 1, frozen by a test; append-only.</summary>
/// <remarks>Version (1 byte), kind (1 byte), then what the kind has: see the code. A finished sample is named, not held.</remarks>
internal static class OutcomeFormat
{
    private const byte Version = 1;
    private const byte Encoded = 1;
    private const byte Denoised = 2;
    private const byte Failed = 3;
    private const byte MissingCondition = 4;
    private const byte Returned = 5;

    /// <param name="outcome">What is reported.</param>
    /// <param name="place">Of a <see cref="DenoisedOutcome"/>: where its sample was put.</param>
    public static byte[] Write(WorkOutcome outcome, InboxPlace? place)
    {
        var writer = new WireWriter();
        writer.Byte(Version);
        switch (outcome)
        {
            case EncodedOutcome encoded:
                writer.Byte(Encoded);
                writer.Byte(encoded.WasMade ? (byte)1 : (byte)0);
                break;
            case DenoisedOutcome when place is { } at:
                writer.Byte(Denoised);
                writer.Text(at.File);
                writer.Number(at.Offset);
                writer.Number(at.Position);
                break;
            case FailedOutcome failed:
                writer.Byte(Failed);
                writer.Text(failed.Reason);
                writer.Number(failed.BatchRows);
                break;
            case MissingConditionOutcome missing:
                writer.Byte(MissingCondition);
                writer.Key(missing.Key);
                break;
            case ReturnedOutcome:
                writer.Byte(Returned);
                break;
            default:
                throw new ArgumentException($"{outcome.GetType().Name} has no wire format", nameof(outcome));
        }

        return writer.ToArray();
    }

    /// <returns>The outcome; or, for a finished sample, where it lies.</returns>
    /// <exception cref="WireFormatException">It is damaged or of a later version.</exception>
    public static (WorkOutcome? Outcome, InboxPlace? Place) Read(ReadOnlySpan<byte> bytes)
    {
        var reader = new WireReader(bytes, "a report in Redis");
        reader.Version(Version);
        (WorkOutcome?, InboxPlace?) read = reader.Byte() switch
        {
            Encoded => (new EncodedOutcome(reader.Byte() != 0), null),
            Denoised => (null, new InboxPlace(reader.Text(), reader.Number(), reader.Number())),
            Failed => (new FailedOutcome(reader.Text(), reader.Int32()), null),
            MissingCondition => (new MissingConditionOutcome(reader.Key()), null),
            Returned => (new ReturnedOutcome(), null),
            byte kind => throw reader.Wrong($"there is no kind {kind}"),
        };
        reader.End();
        return read;
    }
}
