#include <torch/csrc/autograd/autograd.h>
#include "errors.h"
#include "handles.h"
#include "shim.h"

namespace {
torch::autograd::variable_list list(void** handles, int count)
{
    torch::autograd::variable_list tensors;
    for (int i = 0; i < count; i++) tensors.push_back(mq::borrow(handles[i]));
    return tensors;
}
} // namespace

MQ_API int mq_backward(void** tensors, int count, void** gradients, int gradient_count, int retain_graph, int create_graph,
    void** inputs, int input_count)
{
    return mq::guard(-1, [&] {
        torch::autograd::backward(list(tensors, count), list(gradients, gradient_count), retain_graph != 0, create_graph != 0,
            list(inputs, input_count));
        return 0;
    });
}

// Writes one handle per input, null where it was not used.
MQ_API int mq_gradients(void** outputs, int count, void** inputs, int input_count, void** gradients, int gradient_count,
    int retain_graph, int create_graph, int allow_unused, void** results)
{
    return mq::guard(-1, [&] {
        auto found = torch::autograd::grad(list(outputs, count), list(inputs, input_count), list(gradients, gradient_count),
            retain_graph != 0, create_graph != 0, allow_unused != 0);
        for (size_t i = 0; i < found.size(); i++) results[i] = mq::release(found[i]);
        return 0;
    });
}
