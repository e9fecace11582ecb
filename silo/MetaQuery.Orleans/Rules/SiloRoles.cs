namespace MetaQuery.Orleans;

/// <summary>What a silo is for. Names stand in the cluster's metadata: append-only.</summary>
[Flags]
public enum SiloRoles : byte
{
    None = 0,

    /// <summary>May hold the farm's head; serves the web API and the page.</summary>
    Head = 1,

    /// <summary>Its slots turn prompts into conditions.</summary>
    Mllm = 2,

    /// <summary>Its slots turn conditions into pictures.</summary>
    Dit = 4,

    All = Head | Mllm | Dit,
}

/// <summary>Reads and writes roles as the command line and the cluster's metadata have them: <c>head,mllm,dit</c>.</summary>
public static class SiloRoleNames
{
    private static readonly char[] Separators = [',', '+', ' '];

    /// <returns>Null where a word is no role, or there is none.</returns>
    public static SiloRoles? Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        SiloRoles found = SiloRoles.None;
        foreach (string word in text.Split(Separators, StringSplitOptions.RemoveEmptyEntries))
        {
            SiloRoles role = word switch { "head" => SiloRoles.Head, "mllm" => SiloRoles.Mllm, "dit" => SiloRoles.Dit, _ => SiloRoles.None };
            if (role == SiloRoles.None)
            {
                return null;
            }

            found |= role;
        }

        return found == SiloRoles.None ? null : found;
    }

    public static string Write(SiloRoles roles) => string.Join(',', List(roles));

    public static IReadOnlyList<string> List(SiloRoles roles)
    {
        List<string> names = [];
        if (roles.HasFlag(SiloRoles.Head))
        {
            names.Add("head");
        }

        if (roles.HasFlag(SiloRoles.Mllm))
        {
            names.Add("mllm");
        }

        if (roles.HasFlag(SiloRoles.Dit))
        {
            names.Add("dit");
        }

        return names;
    }
}
