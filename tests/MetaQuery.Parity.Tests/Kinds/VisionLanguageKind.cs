using System.Text.Json;
using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Vision;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Qwen2.5-VL and LLaVA-OneVision from the pixels on: processor, prompt, ids, positions, tower, decoder layer by layer, greedy continuation.</summary>
public sealed partial class VisionLanguageKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["qwen2_5-vl", "llava-onevision"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        foreach (var packed in new[] { false, true })
        {
            using var mode = inference_mode();
            using var scope = NewDisposeScope();
            var folder = HuggingFaceFolder.Open(parityCase.PathOf(parityCase.Json.GetProperty("model").GetString()!));
            using var weights = folder.OpenWeights();
            using var vision = VisionModel.Load(folder, weights, forConditions: false, packed: packed)!;
            using var decoder = CausalDecoder.Load(
                DecoderConfig.FromTransformers(folder.ReadConfig()), weights.WithPrefix(MllmKinds.DecoderPrefix(weights)), packed: packed);
            var run = new CaseRun(parityCase, report, folder, vision, decoder, packed ? " by packed layers" : "");
            run.Images();
            run.Texts();
            run.NothingIsLeft();
        }
    }

    private sealed partial class CaseRun(ParityCase parityCase, ParityReport report, HuggingFaceFolder folder, VisionModel vision, CausalDecoder decoder, string by)
    {
        private readonly HashSet<string> _left = [.. parityCase.Expected.Keys];
        private readonly List<ImageFeatures> _features = [];
        private readonly List<(int Rows, int Columns)> _grids = [];
        private readonly List<JsonElement> _rows = [.. parityCase.Json.GetProperty("rows").EnumerateArray()];

        /// <summary>Every picture in the order of the rows that name it, alone; the expected tensors hold them one behind the other.</summary>
        public void Images()
        {
            using var scope = NewDisposeScope();
            var named = parityCase.Json.GetProperty("images").EnumerateArray().ToDictionary(CaseImages.Name);
            var shown = new Dictionary<string, List<Tensor>>();
            var sizes = new List<long>();
            var pixels = new List<Tensor>();
            foreach (var name in _rows.SelectMany(row => row.GetProperty("images").EnumerateArray()))
            {
                var image = CaseImages.Load(parityCase, named[name.GetString()!]);
                sizes.AddRange(image.HeightPixels, image.WidthPixels);
                var processed = vision.Processor.Process(image);
                _grids.Add((processed.Rows, processed.Columns));
                _features.Add(vision.Encode(image, (state, value) =>
                {
                    var kept = value.clone().MoveToOtherDisposeScope(scope);
                    if (state == "pixel_values")
                        pixels.Add(kept);
                    else
                        (shown.TryGetValue(state, out var list) ? list : shown[state] = []).Add(kept);
                }));
            }

            if (pixels.Count == 0)
                return;
            ComparePixels(pixels, sizes);
            foreach (var (state, values) in shown)
                Compare(parityCase.Expected.Contains($"vision.{state}") ? $"vision.{state}" : state, cat(values, 0));
            if (vision.Tower is QwenVisionTower tower)
                CompareWindows(tower.Config);
            else
                Exact("feature_lens", [.. _features.Select(features => features.Tokens)]);
        }

        public void Texts()
        {
            var tokenizer = ByteLevelBpeTokenizer.FromTokenizerJson(Path.Combine(folder.Path, "tokenizer.json"));
            var template = ChatTemplate.FromFolder(folder.Path);
            var used = 0;
            for (var row = 0; row < _rows.Count; row++)
            {
                var count = _rows[row].GetProperty("images").GetArrayLength();
                var message = ChatMessage.OfParts("user", [.. Enumerable.Repeat(ChatPart.Image, count), ChatPart.Text(_rows[row].GetProperty("text").GetString()!)]);
                var segments = template.RenderSegments([message], addGenerationPrompt: true);
                report.Exact($"prompt[{row}]", string.Concat(segments.Select(segment => segment.Text)), _rows[row].GetProperty("prompt").GetString());
                var ids = tokenizer.EncodeToIds(segments).Select(id => (long)id).ToList();
                var prompt = PromptTokens.Expand(ids, vision.Tower.ImageTokenId, _features.GetRange(used, count));
                used += count;
                CompareIds(row, prompt);
                CompareStates(row, prompt);
            }

            _left.ExceptWith(["embedding", "final_norm", "logits.last8", "generated", "generated_logits"]);
            _left.RemoveWhere(name => name.StartsWith("layer.", StringComparison.Ordinal));
        }

        public void NothingIsLeft()
        {
            foreach (var features in _features)
                features.Dispose();
            foreach (var name in _left)
                report.That(name, holds: false, "nothing is compared with it");
        }

        private void ComparePixels(List<Tensor> pixels, List<long> sizes)
        {
            var expected = parityCase.Inputs.Load("pixel_values");
            var tolerance = CaseImages.Tolerance(parityCase, "preprocessTolerance");
            if (parityCase.Inputs.Contains("image_grid_thw"))
            {
                report.Close("pixel_values", cat(pixels, 0), expected, tolerance);
                report.Exact<long>("image_grid_thw", [.. _grids.SelectMany(grid => new long[] { 1, grid.Rows, grid.Columns })], parityCase.Inputs.Load("image_grid_thw").ToArray());
                return;
            }

            report.Exact<long>("image_sizes", sizes, parityCase.Inputs.Load("image_sizes").ToArray());
            report.Exact<long>("pixel_values: most tiles", [pixels.Max(tiles => tiles.shape[0])], [expected.shape[1]]);
            for (var i = 0; i < pixels.Count; i++)
                report.Close($"pixel_values[{i}]", pixels[i], expected[i].narrow(0, 0, pixels[i].shape[0]), tolerance);
        }

        private void CompareWindows(QwenVisionConfig config)
        {
            var (index, borders) = (new List<long>(), new List<long> { 0 });
            foreach (var (rows, columns) in _grids)
            {
                var layout = new QwenVisionLayout(config, rows, columns);
                var (tokens, patches) = (index.Count, borders[^1]);
                index.AddRange(layout.WindowIndex.Select(token => token + tokens));
                borders.AddRange(layout.WindowOffsets.Skip(1).Select(border => border + patches));
            }

            Exact("vision.window_index", index);
            Exact("vision.cu_window_seqlens", borders);
        }

        private void Exact(string name, IReadOnlyList<long> actual)
        {
            _left.Remove(name);
            report.Exact(name, actual, parityCase.Expected.Load(name).ToArray());
        }

        private void Compare(string name, Tensor actual)
        {
            _left.Remove(name);
            report.Close(name + by, actual, parityCase.Expected.Load(name), parityCase.Tolerance());
        }
    }
}
