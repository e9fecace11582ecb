using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("MetaQuery.Farm.Tests")]
