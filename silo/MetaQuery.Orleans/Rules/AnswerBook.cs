namespace MetaQuery.Orleans;

/// <summary>The last answers by the call's own name: a call that comes again, since its answer was lost, gets the same one and does nothing twice.</summary>
/// <typeparam name="T">What is answered.</typeparam>
/// <param name="most">Answers kept.</param>
/// <remarks>Thread-safe. A call that fails is forgotten: it may be made again.</remarks>
public sealed class AnswerBook<T>(int most)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<Guid, Task<T>> _answers = [];
    private readonly Queue<Guid> _order = new();

    /// <summary>Makes the call, or gives what the same call has been or is being answered.</summary>
    public Task<T> Once(Guid call, Func<Task<T>> make)
    {
        ArgumentNullException.ThrowIfNull(make);
        Task<T> answer;
        lock (_gate)
        {
            if (_answers.TryGetValue(call, out Task<T>? known))
            {
                return known;
            }

            while (_order.Count >= most)
            {
                _answers.Remove(_order.Dequeue());
            }

            answer = Task.Run(make); // not under the lock, and not in a grain's turn
            _answers[call] = answer;
            _order.Enqueue(call);
        }

        _ = ForgetFailureAsync(call, answer);
        return answer;
    }

    private async Task ForgetFailureAsync(Guid call, Task<T> answer)
    {
        await ((Task)answer).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!answer.IsCompletedSuccessfully)
        {
            lock (_gate)
            {
                _answers.Remove(call);
            }
        }
    }
}
