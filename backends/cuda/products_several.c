#include "backends/cuda/products_several.h"

#include "backends/cuda/products_wide.h"

#define FILE_OF_KERNELS "products_several"
#define MOST_COLUMNS 32 /* of a block and of a product: more are faster as tiles */
#define MOST_RING 16    /* units of columns */
#define MOST_SLOTS 2
#define FEWEST_WARPS 4
#define MOST_BANDS 16 /* of a block: with more, as in heads, there are so many sums that tiles are faster */

/* The most that fit: warps, each of which has an item, slots, and units of columns. `n_bands`: of the largest block. Returns the
 * bytes of shared memory, or 0 if a block has not enough. */
static uint32_t choose_places(weft_cuda_several *several, int n_bands, int groups, int most_bytes) {
    weft_cuda_product *product = &several->product;
    int n_units = weft_slice_units(product->n_units, product->n_slices), n_items = n_bands * n_units;
    int ring = n_units < MOST_RING ? n_units : MOST_RING;
    int most = groups == 2 ? WEFT_SEVERAL_WARPS_2 : WEFT_SEVERAL_WARPS_4, least = n_items < FEWEST_WARPS ? n_items : FEWEST_WARPS;
    for (several->n_warps = n_items < most ? n_items : most; several->n_warps >= least; several->n_warps -= 4) {
        int busy = (int)weft_cuda_ceil(several->n_warps, n_bands) + 1, fewest = busy < ring ? busy : ring;
        for (product->n_slots = n_items > several->n_warps ? MOST_SLOTS : 1; product->n_slots > 0; product->n_slots--) {
            for (several->n_ring = ring; several->n_ring >= fewest; several->n_ring--) {
                several->places = weft_several_places_of(several, n_bands, groups);
                if (several->places.end <= most_bytes) return (uint32_t)several->places.end;
            }
        }
    }
    return 0;
}

/* Sets what the kernel needs. Returns its launch, without shared memory where there is not enough. */
static weft_cuda_shape choose(const weft_backend_device *device, weft_cuda_several *several, int *groups) {
    weft_cuda_product *product = &several->product;
    *groups = product->n_columns <= MOST_COLUMNS / 2 ? 2 : 4;
    int64_t blocks = device->multiprocessors / product->n_slices;
    blocks = blocks < 1 ? 1 : blocks < product->n_bands ? blocks : product->n_bands;
    product->block_bands = (int32_t)(product->n_bands / blocks);
    product->n_longer = (int32_t)(product->n_bands % blocks);
    product->slot_bytes = weft_largest_unit(product);
    int n_bands = product->block_bands + (product->n_longer > 0);
    weft_cuda_shape shape = {{blocks, product->n_slices}, 0, choose_places(several, n_bands, *groups, device->shared_bytes)};
    shape.block = (uint32_t)((several->n_warps + 1) * WEFT_CUDA_WARP);
    return shape;
}

/* Where there is a gate, a block would have twice as many sums to keep and to finish: there tiles are faster. */
bool weft_cuda_wants_several(const weft_backend_device *device, const weft_cuda_product *product) {
    weft_cuda_several several = {.product = *product};
    int groups;
    return weft_cuda_has_wide(device) && weft_cuda_has_file(FILE_OF_KERNELS) && !product->gated &&
           product->n_columns <= MOST_COLUMNS && choose(device, &several, &groups).shared_bytes > 0 &&
           several.product.block_bands < MOST_BANDS;
}

bool weft_cuda_record_several(weft_cuda_recorder *recorder, const weft_cuda_product *product, uint64_t scratch) {
    weft_cuda_wide wide = {.product = *product};
    weft_cuda_record_prepare(recorder, &wide, scratch);
    weft_cuda_several several = {.product = wide.product, .factors = wide.factors, .padded_columns = wide.padded_columns};
    int groups;
    weft_cuda_shape shape = choose(weft_cuda_recorder_device(recorder), &several, &groups);
    weft_cuda_launch(recorder, FILE_OF_KERNELS, groups == 2 ? "weft_product_several_2" : "weft_product_several_4", shape, &several);
    return product->n_slices > 1;
}
