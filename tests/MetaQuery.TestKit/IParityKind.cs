namespace MetaQuery.TestKit;

/// <summary>Runs the golden cases of one or more kinds. Found by reflection: a public class with a parameterless constructor is enough.</summary>
public interface IParityKind
{
    /// <summary>The values of <c>kind</c> in case.json that this class runs.</summary>
    IReadOnlyList<string> Kinds { get; }

    /// <summary>
    /// Why a whole case cannot be run yet, from its json alone (a model family that is not built, say), or null.
    /// Such a case is listed as not covered; parts of a case are left out with <see cref="ParityReport.Skip"/>.
    /// </summary>
    string? NotCovered(ParityCase parityCase) => null;

    /// <summary>Runs the case and compares every expected value. Sizes come from the case's files, never from code.</summary>
    /// <exception cref="Exception">Any exception fails the case.</exception>
    void Run(ParityCase parityCase, ParityReport report);
}
