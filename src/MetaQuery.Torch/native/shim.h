// The C interface between MetaQuery.Torch and libtorch. A tensor handle is an owned c10::TensorImpl*; the same tensor may have
// several handles. Every function that can fail returns a negative number or null and leaves a message (mq_last_error).
#pragma once
#include <stdint.h>

#define MQ_API extern "C" __attribute__((visibility("default")))

enum mq_tag : int32_t {
    MQ_NONE, MQ_TENSOR, MQ_INT, MQ_DOUBLE, MQ_BOOL, MQ_INT_LIST, MQ_TENSOR_LIST, MQ_DOUBLE_LIST, MQ_STRING, MQ_DEVICE, MQ_GENERATOR
};

struct mq_value {
    int32_t tag;
    int32_t count; // of the elements of a list, of the bytes of a string
    union {
        int64_t i; // also a bool; a device is its type in the low byte and its index + 1 above
        double d;
        void* p;
    };
};
