using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Goes through a job's prompts for their pictures while it is planned: looks at each, or reads what was written down when the job was taken.</summary>
internal sealed class PictureSurvey(PictureInput input) : IDisposable
{
    private const int MostListed = 100;

    private readonly PictureIntake _intake = new(input);
    private readonly PictureWalk? _walk = input.Known is { } known ? new PictureWalk(known) : null;
    private readonly List<string> _faults = [];
    private PictureIndex.Writer? _writer;
    private long _prompts;
    private long _faultCount;

    /// <param name="line">The next prompt.</param>
    /// <exception cref="PromptFileException">What was written down is damaged.</exception>
    /// <exception cref="StorageException">A picture could not be kept.</exception>
    public LinePictures Take(PromptLine line)
    {
        if (line.Images.Count == 0)
        {
            return new LinePictures([], null);
        }

        _writer ??= new PictureIndex.Writer(input.IndexPath, keeps: _walk is null);
        LinePictures pictures = _walk?.Of(line) ?? _intake.Take(line);
        _writer.Add(line.Index, pictures);
        _prompts++;
        if (pictures.Fault is { } fault)
        {
            _faultCount++;
            if (_faults.Count < MostListed)
            {
                _faults.Add($"line {line.Line}: {fault}");
            }
        }

        return pictures;
    }

    /// <returns>Null where no prompt names a picture.</returns>
    /// <exception cref="StorageException">The index could not be written.</exception>
    public JobPictures? End()
    {
        if (_writer is null)
        {
            return null;
        }

        (PictureIndex written, string digest) = _writer.Commit();
        return new JobPictures(input.Known ?? written, digest, _prompts, _faultCount, _faults);
    }

    public void Dispose()
    {
        _walk?.Dispose();
        _writer?.Dispose();
    }
}
