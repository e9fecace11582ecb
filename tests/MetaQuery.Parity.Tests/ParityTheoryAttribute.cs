using Xunit.Abstractions;
using Xunit.Sdk;

namespace MetaQuery.Parity.Tests;

/// <summary>A theory whose rows may be skipped one by one: the second argument of a row, where it is text, is the reason.</summary>
[AttributeUsage(AttributeTargets.Method)]
[XunitTestCaseDiscoverer("MetaQuery.Parity.Tests.ParityTheoryDiscoverer", "MetaQuery.Parity.Tests")]
public sealed class ParityTheoryAttribute : TheoryAttribute;

/// <summary>Turns a row with a reason into a skipped test under its own name.</summary>
public sealed class ParityTheoryDiscoverer(IMessageSink diagnosticMessageSink) : TheoryDiscoverer(diagnosticMessageSink)
{
    protected override IEnumerable<IXunitTestCase> CreateTestCasesForDataRow(
        ITestFrameworkDiscoveryOptions discoveryOptions, ITestMethod testMethod, IAttributeInfo theoryAttribute, object[] dataRow) =>
        dataRow is [_, string reason]
            ? CreateTestCasesForSkippedDataRow(discoveryOptions, testMethod, theoryAttribute, dataRow, reason)
            : base.CreateTestCasesForDataRow(discoveryOptions, testMethod, theoryAttribute, dataRow);
}
