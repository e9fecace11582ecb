// Any ATen operator by its schema: arguments come as tagged values, the schema says what they become on the dispatcher's stack.
#include <ATen/core/Generator.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include "compat.h"
#include "errors.h"
#include "handles.h"
#include "shim.h"

namespace {

using Kind = c10::TypeKind;

struct Argument {
    std::string name;
    Kind kind, element;
    bool optional, optional_elements;
    int fixed_length; // of a list that a single number fills, as in int[2] stride=1
    mq::optional<c10::IValue> value_by_default;
};

struct Operator {
    c10::OperatorHandle handle;
    std::string name;
    std::vector<Argument> arguments;
};

Argument describe(const c10::Argument& argument)
{
    Argument result{argument.name(), Kind::NoneType, Kind::NoneType, false, false, argument.N() ? (int)*argument.N() : 0,
        argument.default_value()};
    auto type = argument.type();
    if (auto optional = type->cast<c10::OptionalType>()) {
        result.optional = true;
        type = optional->getElementType();
    }
    result.kind = type->kind();
    if (auto list = type->cast<c10::ListType>()) {
        auto element = list->getElementType();
        if (auto optional = element->cast<c10::OptionalType>()) {
            result.optional_elements = true;
            element = optional->getElementType();
        }
        result.element = element->kind();
    }
    return result;
}

[[noreturn]] void refuse(const Operator& op, const Argument& argument, const mq_value& value)
{
    static const char* tags[] = {"nothing", "a tensor", "an integer", "a float", "a bool", "a list of integers", "a list of tensors",
        "a list of floats", "a string", "a device", "a generator"};
    C10_THROW_ERROR(TypeError, op.name + ": argument '" + argument.name + "' cannot be " + tags[value.tag]);
}

c10::IValue list_of(const Operator& op, const Argument& argument, const mq_value& value)
{
    if (argument.element == Kind::TensorType && value.tag == MQ_TENSOR_LIST) {
        auto handles = (void**)value.p;
        if (argument.optional_elements) {
            c10::List<mq::optional<at::Tensor>> list;
            list.reserve(value.count);
            for (int i = 0; i < value.count; i++)
                list.push_back(handles[i] ? mq::optional<at::Tensor>(mq::borrow(handles[i])) : mq::optional<at::Tensor>());
            return list;
        }
        c10::List<at::Tensor> list;
        list.reserve(value.count);
        for (int i = 0; i < value.count; i++) list.push_back(mq::borrow(handles[i]));
        return list;
    }
    if (mq::is_integer(argument.element)) {
        if (value.tag == MQ_INT_LIST) return c10::IValue(c10::IntArrayRef((int64_t*)value.p, value.count));
        if (value.tag == MQ_INT) return c10::IValue(std::vector<int64_t>(std::max(argument.fixed_length, 1), value.i));
    }
    if (argument.element == Kind::FloatType && value.tag == MQ_DOUBLE_LIST)
        return c10::IValue(c10::ArrayRef<double>((double*)value.p, value.count));
    if (argument.element == Kind::BoolType && value.tag == MQ_INT_LIST) {
        c10::List<bool> list;
        for (int i = 0; i < value.count; i++) list.push_back(((int64_t*)value.p)[i] != 0);
        return list;
    }
    refuse(op, argument, value);
}

c10::IValue to_ivalue(const Operator& op, const Argument& argument, const mq_value& value)
{
    if (value.tag == MQ_NONE) {
        if (argument.optional) return c10::IValue();
        if (argument.kind == Kind::TensorType) return at::Tensor();
        refuse(op, argument, value);
    }
    switch (argument.kind) {
    case Kind::TensorType:
        if (value.tag == MQ_TENSOR) return mq::borrow(value.p);
        break;
    case Kind::ListType: return list_of(op, argument, value);
    case Kind::NumberType:
        if (value.tag == MQ_INT) return value.i;
        if (value.tag == MQ_DOUBLE) return value.d;
        if (value.tag == MQ_BOOL) return value.i != 0;
        break;
    case Kind::FloatType:
        if (value.tag == MQ_DOUBLE) return value.d;
        if (value.tag == MQ_INT) return (double)value.i;
        break;
    case Kind::BoolType:
        if (value.tag == MQ_BOOL) return value.i != 0;
        break;
    case Kind::StringType:
        if (value.tag == MQ_STRING) return std::string((const char*)value.p, value.count);
        break;
    case Kind::DeviceObjType:
        if (value.tag == MQ_DEVICE) return mq::device_of(value.i);
        break;
    case Kind::GeneratorType:
        if (value.tag == MQ_GENERATOR)
            return at::Generator(c10::intrusive_ptr<c10::GeneratorImpl>::reclaim_copy((c10::GeneratorImpl*)value.p));
        break;
    default:
        if (mq::is_integer(argument.kind) && value.tag == MQ_INT) return value.i;
    }
    refuse(op, argument, value);
}

thread_local std::vector<mq_value> results;

void add_result(const c10::IValue& value)
{
    mq_value out{MQ_NONE, 0, {0}};
    if (value.isTensor()) {
        out.tag = MQ_TENSOR;
        out.p = mq::release(value.toTensor());
    } else if (value.isInt()) {
        out.tag = MQ_INT;
        out.i = value.toInt();
    } else if (value.isDouble()) {
        out.tag = MQ_DOUBLE;
        out.d = value.toDouble();
    } else if (value.isBool()) {
        out.tag = MQ_BOOL;
        out.i = value.toBool();
    } else if (value.isTensorList()) {
        for (const at::Tensor& tensor : value.toTensorVector()) add_result(tensor);
        return;
    }
    results.push_back(out);
}

} // namespace

// "aten::add", "Tensor" -> a handle that lives as long as the process.
MQ_API void* mq_operator(const char* name, const char* overload)
{
    return mq::guard((void*)nullptr, [&]() -> void* {
        auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
        auto op = new Operator{handle, *overload ? std::string(name) + "." + overload : std::string(name), {}};
        for (const auto& argument : handle.schema().arguments()) op->arguments.push_back(describe(argument));
        return op;
    });
}

// 1 if this libtorch has the operator.
MQ_API int mq_has_operator(const char* name, const char* overload)
{
    return mq::guard(-1, [&] { return c10::Dispatcher::singleton().findSchema({name, overload}).has_value() ? 1 : 0; });
}

// Calls with the first `count` arguments (in the schema's order, keywords included); the rest take their defaults.
// Returns how many results there are, lists flattened, and writes as many as fit; mq_results fetches the others.
// With room for none the results are dropped: so for operators in place.
MQ_API int mq_call(void* operator_, const mq_value* arguments, int count, mq_value* out, int room)
{
    return mq::guard(-1, [&]() -> int {
        auto& op = *(Operator*)operator_;
        if ((size_t)count > op.arguments.size())
            C10_THROW_ERROR(TypeError, op.name + " takes " + std::to_string(op.arguments.size()) + " arguments, not "
                + std::to_string(count));
        torch::jit::Stack stack;
        stack.reserve(op.arguments.size());
        for (size_t i = 0; i < op.arguments.size(); i++) {
            const auto& argument = op.arguments[i];
            if (i < (size_t)count)
                stack.push_back(to_ivalue(op, argument, arguments[i]));
            else if (argument.value_by_default)
                stack.push_back(*argument.value_by_default);
            else
                C10_THROW_ERROR(TypeError, op.name + ": argument '" + argument.name + "' is missing");
        }
        op.handle.callBoxed(&stack);
        if (room == 0) return 0;
        if (stack.size() == 1 && stack[0].isTensor()) {
            *out = mq_value{MQ_TENSOR, 0, {0}};
            out->p = mq::release(std::move(stack[0]).toTensor());
            return 1;
        }
        results.clear();
        for (const auto& value : stack) add_result(value);
        std::copy_n(results.begin(), std::min(results.size(), (size_t)room), out);
        return (int)results.size();
    });
}

MQ_API void mq_results(mq_value* out) { std::copy(results.begin(), results.end(), out); }

MQ_API int mq_last_error(const char** message)
{
    *message = mq::last_message.c_str();
    return mq::last_kind;
}
