using MetaQuery.Farm;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Who asks.</summary>
/// <param name="Tenant">Whose jobs it makes.</param>
/// <param name="IsAdmin">Whether it sees all tenants' jobs.</param>
internal sealed record Caller(string Tenant, bool IsAdmin)
{
    /// <summary>On loopback without keys: whoever reaches this machine's loopback may do all.</summary>
    public static readonly Caller Local = new("local", IsAdmin: true);

    /// <summary>Bears a signature for the very address it asks for.</summary>
    public static readonly Caller Signed = new("signed", IsAdmin: true);

    public static Caller Of(HttpContext context) =>
        context.Items[typeof(Caller)] as Caller ?? throw new InvalidOperationException($"{context.Request.Path} was reached without a check of who asks");

    public static JobReference Job(HttpContext context, string id)
    {
        Caller caller = Of(context);
        return new JobReference(id, caller.IsAdmin ? null : caller.Tenant);
    }

    /// <exception cref="ApiException">The caller is no admin.</exception>
    public static void RequireAdmin(HttpContext context)
    {
        if (!Of(context).IsAdmin)
        {
            throw new ApiException(403, "this needs an admin's key; ./farm keys add --admin makes one", "Authorization", "not_admin");
        }
    }
}
