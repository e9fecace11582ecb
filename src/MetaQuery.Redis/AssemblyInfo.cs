using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("MetaQuery.Redis.Tests")]
[assembly: InternalsVisibleTo("MetaQuery.Orleans")]
