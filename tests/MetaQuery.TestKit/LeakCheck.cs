using System.Reflection;
using TorchSharp;
using Xunit.Sdk;

namespace MetaQuery.TestKit;

/// <summary>
/// On a class of tests: each of its tests fails if it leaves more native tensors alive than it found. What the class's
/// constructor and fixtures make is not counted. The count is the process's, so that tensors of other threads are seen: tests of
/// such an assembly do not run in parallel (tests/MetaQuery.TestKit/SerialTests.cs, compiled into each of them).
/// </summary>
[AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
public sealed class LeakCheckAttribute : BeforeAfterTestAttribute
{
    private long _before;

    /// <inheritdoc/>
    public override void Before(MethodInfo methodUnderTest) => _before = torch.Tensor.TotalCount;

    /// <inheritdoc/>
    public override void After(MethodInfo methodUnderTest)
    {
        var after = torch.Tensor.TotalCount;
        if (after > _before)
            throw new XunitException($"{methodUnderTest.Name} leaked {after - _before} native tensors ({_before} before, {after} after)");
    }

    /// <summary>The classes of an assembly that hold tests but not this attribute.</summary>
    public static IEnumerable<string> ClassesWithout(Assembly tests) =>
        from type in tests.GetTypes()
        where type.GetMethods().Any(method => method.GetCustomAttributes<Xunit.FactAttribute>().Any())
        where type.GetCustomAttribute<LeakCheckAttribute>() is null
        select type.Name;
}
