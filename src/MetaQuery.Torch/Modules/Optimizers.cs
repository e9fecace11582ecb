using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.optim;

namespace TorchSharp
{
    public static partial class torch
    {
        public static class optim
        {
            public interface ILearningRateController
            {
                double LearningRate { get; set; }
                double InitialLearningRate { get; set; }
            }

            /// <summary>Changes parameters by their gradients.</summary>
            public abstract class Optimizer : IDisposable
            {
                protected readonly IList<ParamGroup> _parameter_groups = [];

                public IEnumerable<ILearningRateController> ParamGroups => _parameter_groups;

                public virtual IEnumerable<Parameter> parameters() => _parameter_groups.SelectMany(group => group.Parameters);

                /// <summary>Drops all gradients.</summary>
                public virtual void zero_grad()
                {
                    foreach (var parameter in parameters()) parameter.grad = null;
                }

                /// <param name="closure">Computes the loss anew; its result is returned.</param>
                public abstract Tensor? step(Func<Tensor>? closure = null);

                public void Dispose()
                {
                    Dispose(true);
                    GC.SuppressFinalize(this);
                }

                protected abstract void Dispose(bool disposing);
            }

            public static AdamW AdamW(IEnumerable<Parameter> parameters, double lr = 0.001, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-08, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters, lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);

            public static AdamW AdamW(IEnumerable<(string name, Parameter parameter)> parameters, double lr = 0.001, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-08, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters.Select(named => named.parameter), lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);

            public static AdamW AdamW(IEnumerable<AdamW.ParamGroup> parameters, double lr = 0.001, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-08, double weight_decay = 0, bool amsgrad = false, bool maximize = false) =>
                new(parameters, lr, beta1, beta2, eps, weight_decay, amsgrad, maximize);
        }
    }

    namespace Modules
    {
        /// <summary>Settings of a group of parameters; what is null is taken from the optimizer.</summary>
        public class OptimizerOptions
        {
            public double? LearningRate { get; set; }
            public double InitialLearningRate { get; set; }
        }

        /// <summary>Parameters that share their settings.</summary>
        public class ParamGroup : ILearningRateController
        {
            public IEnumerable<Parameter> Parameters { get; set; } = [];
            public OptimizerOptions? Options { get; set; }

            public double LearningRate
            {
                get => Options!.LearningRate!.Value;
                set => Options!.LearningRate = value;
            }

            public double InitialLearningRate
            {
                get => Options!.InitialLearningRate;
                set => Options!.InitialLearningRate = value;
            }
        }

        /// <summary>Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).</summary>
        public class AdamW : Optimizer
        {
            readonly Options _defaults;
            readonly Dictionary<Parameter, State> _states = new(ReferenceEqualityComparer.Instance);

            public AdamW(IEnumerable<Parameter> parameters, double lr = 0.001, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-08, double weight_decay = 0, bool amsgrad = false, bool maximize = false)
                : this([new ParamGroup { Parameters = parameters }], lr, beta1, beta2, eps, weight_decay, amsgrad, maximize)
            {
            }

            /// <exception cref="ArgumentException">A setting out of range.</exception>
            public AdamW(IEnumerable<ParamGroup> parameters, double lr = 0.001, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-08, double weight_decay = 0, bool amsgrad = false, bool maximize = false)
            {
                Require(lr >= 0, nameof(lr), lr);
                Require(eps >= 0, nameof(eps), eps);
                Require(beta1 is >= 0 and < 1, nameof(beta1), beta1);
                Require(beta2 is >= 0 and < 1, nameof(beta2), beta2);
                Require(weight_decay >= 0, nameof(weight_decay), weight_decay);
                _defaults = new Options { LearningRate = lr, InitialLearningRate = lr, beta1 = beta1, beta2 = beta2, eps = eps, weight_decay = weight_decay, amsgrad = amsgrad, maximize = maximize };
                foreach (var group in parameters) add_param_group(group);
            }

            static void Require(bool holds, string name, double value)
            {
                if (!holds) throw new ArgumentException($"AdamW: {name} cannot be {value}", name);
            }

            public virtual void add_param_group(Modules.ParamGroup param_group)
            {
                var options = param_group.Options as Options ?? new Options();
                options.LearningRate ??= _defaults.LearningRate;
                if (options.InitialLearningRate == 0) options.InitialLearningRate = options.LearningRate!.Value;
                options.beta1 ??= _defaults.beta1;
                options.beta2 ??= _defaults.beta2;
                options.eps ??= _defaults.eps;
                options.weight_decay ??= _defaults.weight_decay;
                options.amsgrad ??= _defaults.amsgrad;
                options.maximize ??= _defaults.maximize;
                param_group.Options = options;
                param_group.Parameters = param_group.Parameters.ToList();
                _parameter_groups.Add(param_group);
                foreach (var parameter in param_group.Parameters)
                    if (!_states.TryAdd(parameter, new State())) throw new ArgumentException("AdamW: a parameter stands in two groups");
            }

            /// <summary>The running averages of a parameter; null before its first step.</summary>
            public State GetState(Parameter parameter) => _states[parameter];

            public override Tensor? step(Func<Tensor>? closure = null)
            {
                Tensor? loss = null;
                if (closure is not null)
                    using (enable_grad()) loss = closure();
                using var mode = no_grad();
                foreach (var group in _parameter_groups)
                    foreach (var parameter in group.Parameters) Update(parameter, _states[parameter], (Options)group.Options!);
                return loss;
            }

            static void Update(Parameter parameter, State state, Options options)
            {
                using var scope = NewDisposeScope();
                var gradient = parameter.grad;
                if (gradient is null) return;
                if (options.maximize!.Value) gradient = gradient.neg();
                var (beta1, beta2) = (options.beta1!.Value, options.beta2!.Value);
                var rate = options.LearningRate!.Value;
                state.step++;
                state.exp_avg ??= zeros_like(parameter).DetachFromDisposeScope();
                state.exp_avg_sq ??= zeros_like(parameter).DetachFromDisposeScope();
                parameter.mul_(1 - rate * options.weight_decay!.Value);
                state.exp_avg.mul_(beta1).add_(gradient, alpha: 1 - beta1);
                state.exp_avg_sq.mul_(beta2).addcmul_(gradient, gradient, value: 1 - beta2);
                var second = state.exp_avg_sq;
                if (options.amsgrad!.Value)
                {
                    var old = state.max_exp_avg_sq;
                    state.max_exp_avg_sq = (old is null ? second.clone() : old.maximum(second)).DetachFromDisposeScope();
                    old?.Dispose();
                    second = state.max_exp_avg_sq;
                }
                var denominator = second.sqrt().div_(Math.Sqrt(1 - Math.Pow(beta2, state.step))).add_(options.eps!.Value);
                parameter.addcdiv_(state.exp_avg, denominator, value: -rate / (1 - Math.Pow(beta1, state.step)));
            }

            protected override void Dispose(bool disposing)
            {
                if (!disposing) return;
                foreach (var state in _states.Values) state.Dispose();
            }

            public class Options : OptimizerOptions
            {
                public double? beta1, beta2, eps, weight_decay;
                public bool? amsgrad, maximize;
            }

            public class ParamGroup : Modules.ParamGroup
            {
                public ParamGroup()
                {
                }

                public ParamGroup(IEnumerable<Parameter> parameters, double lr = 0.001, double beta1 = 0.9, double beta2 = 0.999, double eps = 1e-08, double weight_decay = 0, bool amsgrad = false, bool maximize = false)
                {
                    Parameters = parameters;
                    Options = new Options { LearningRate = lr, InitialLearningRate = lr, beta1 = beta1, beta2 = beta2, eps = eps, weight_decay = weight_decay, amsgrad = amsgrad, maximize = maximize };
                }
            }

            /// <summary>What the optimizer remembers of a parameter, to be saved and restored.</summary>
            public sealed class State : IDisposable
            {
                public long step;
                public Tensor? exp_avg, exp_avg_sq, max_exp_avg_sq;

                public void Dispose()
                {
                    exp_avg?.Dispose();
                    exp_avg_sq?.Dispose();
                    max_exp_avg_sq?.Dispose();
                }
            }
        }
    }
}
