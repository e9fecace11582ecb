using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("MetaQuery.Farm.Tests")]
[assembly: InternalsVisibleTo("MetaQuery.Redis")]
[assembly: InternalsVisibleTo("MetaQuery.Redis.Tests")]
