using System.Reflection;

namespace MetaQuery.Redis;

/// <summary>The scripts of the folder Scripts: each is one step that nobody sees half-done.</summary>
internal static class LuaScripts
{
    public static readonly string Open = Load("open");
    public static readonly string Feed = Load("feed");
    public static readonly string Lease = Load("lease");
    public static readonly string Renew = Load("renew");
    public static readonly string Commit = Load("commit");
    public static readonly string Confirm = Load("confirm");
    public static readonly string Take = Load("take");
    public static readonly string Recover = Load("recover");
    public static readonly string Leased = Load("leased");
    public static readonly string Withdraw = Load("withdraw");
    public static readonly string Sweep = Load("sweep");
    public static readonly string Depth = Load("depth");
    public static readonly string Reset = Load("reset");
    public static readonly string ConditionRead = Load("condition-read");
    public static readonly string ConditionWrite = Load("condition-write");
    public static readonly string ConditionDrop = Load("condition-drop");
    public static readonly string FlightRenew = Load("flight-renew");
    public static readonly string FlightEnd = Load("flight-end");
    public static readonly string Join = Load("join");
    public static readonly string Heartbeat = Load("heartbeat");
    public static readonly string Drain = Load("drain");
    public static readonly string Workers = Load("workers");

    private static string Load(string name)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(name + ".lua")
            ?? throw new InvalidOperationException($"{name}.lua is not embedded");
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }
}
