Console.WriteLine("metaquery");
