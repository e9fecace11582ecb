// Compiled into every test assembly that uses tensors: the count of live tensors belongs to the process.
[assembly: Xunit.CollectionBehavior(DisableTestParallelization = true)]
