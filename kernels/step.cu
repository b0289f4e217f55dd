/* Begins a step: finds its entry in the queue and copies its inputs. Ends a step: copies its results and tells the host. */
#include "kernels/common.h"

static __device__ inline weft_cuda_control *control_of(const weft_cuda_copies &list) {
    return (weft_cuda_control *)list.control;
}

static __device__ inline weft_cuda_entry *entry_of(const weft_cuda_copies &list, uint64_t position) {
    return &((weft_cuda_queue *)list.queue)->entries[position % WEFT_CUDA_QUEUE_STEPS];
}

/* With all threads of the grid. Places and ring offsets are multiples of 64. A copy's pieces are vectors, then single bytes. Each
 * thread finds its piece among those of all copies before it reads: so small copies do not wait for the host's memory in turn. */
static __device__ void copy(const weft_cuda_copies &list, uint64_t slot, bool from_ring) {
    uint64_t before = 0; /* pieces of earlier copies */
    int64_t c = 0;
    for (uint64_t piece = (uint64_t)weft_thread();; piece += (uint64_t)weft_threads()) {
        for (; c < list.n_copies; c++) {
            uint64_t pieces = list.copies[c].bytes / 16 + list.copies[c].bytes % 16;
            if (piece < before + pieces) break;
            before += pieces;
        }
        if (c == list.n_copies) return;
        uint64_t ring = list.ring + slot * list.stride + list.copies[c].ring_offset, index = piece - before,
                 vectors = list.copies[c].bytes / 16;
        uint64_t from = from_ring ? ring : list.copies[c].address, to = from_ring ? list.copies[c].address : ring;
        if (index < vectors)
            ((uint4 *)to)[index] = ((const uint4 *)from)[index];
        else
            ((uint8_t *)to)[vectors * 15 + index] = ((const uint8_t *)from)[vectors * 15 + index];
    }
}

/* Finds the step in the queue and copies step inputs. It may run several times in a step, each time for more inputs. The first run
 * decides whether the step is cancelled. */
WEFT_KERNEL(weft_begin, weft_cuda_copies, list) {
    __shared__ weft_cuda_entry entry;
    weft_wait_for_kernels();
    if (threadIdx.x == 0) entry = *entry_of(list, control_of(list)->position);
    __syncthreads();
    if (list.is_first && blockIdx.x == 0 && threadIdx.x == blockDim.x - 1) { /* of another warp than the first copies */
        weft_cuda_control *control = control_of(list);
        control->ticket = entry.ticket;
        control->step_slot = entry.step_slot;
        control->result_slot = entry.result_slot;
        control->cancelled = ((volatile weft_cuda_control *)control)->cancelled_to >= entry.ticket;
    }
    copy(list, entry.step_slot, true);
    weft_let_next_see();
}

/* Copies results out. */
WEFT_KERNEL(weft_collect, weft_cuda_copies, list) {
    weft_wait_for_kernels();
    weft_let_next_start();
    copy(list, control_of(list)->result_slot, false);
}

/* One block: copies the last results out and tells the host of the end. */
WEFT_KERNEL(weft_finish, weft_cuda_copies, list) {
    weft_wait_for_kernels();
    copy(list, control_of(list)->result_slot, false);
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x != 0) return;
    volatile weft_cuda_control *control = control_of(list);
    uint64_t position = control->position;
    bool cancelled = control->cancelled != 0;
    ((volatile weft_cuda_entry *)entry_of(list, position))->ending = cancelled ? WEFT_CUDA_STEP_CANCELLED : WEFT_CUDA_STEP_DONE;
    control->position = position + 1;
    __threadfence_system();
    ((volatile weft_cuda_queue *)list.queue)->n_ended = position + 1;
}
