using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("MetaQuery.Redis.Tests")]
