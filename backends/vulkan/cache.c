/* The driver's pipeline cache, kept in a file between runs where the host program names a folder.
 *
 * The file's name has the driver's identity, so each driver has a file of its own. It begins with a header of its own, since
 * drivers do not all survive data that was cut or changed: magic number, bytes and a checksum of what follows. A file that somebody
 * else may have written is not read. A file is whole or not there. Whatever goes wrong only means that shaders are compiled again.
 */
#include "backends/vulkan/cache.h"

#include <stdio.h>
#include <string.h>

#define MAGIC UINT64_C(0x3145484341434657) /* "WFCACHE1" */
#define LARGEST_FILE (UINT64_C(256) << 20)
#define PATH_BYTES 1024

typedef struct cache_header {
    uint64_t magic, bytes, checksum;
} cache_header;

/* FNV-1a, 64 bits. */
static uint64_t checksum_of(const unsigned char *bytes, size_t n) {
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n; i++) sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static void log_text(const weft_backend_device *device, const char *text) {
    device->host->log(device->host->user, WEFT_LOG_INFO, text);
}

static bool path_of(const weft_backend_device *device, const char *folder, char *path) {
    const VkPhysicalDeviceProperties *properties = &device->traits.properties;
    char uuid[2 * VK_UUID_SIZE + 1];
    for (size_t i = 0; i < VK_UUID_SIZE; i++) snprintf(uuid + 2 * i, 3, "%02x", properties->pipelineCacheUUID[i]);
    int n = snprintf(path, PATH_BYTES, "%s/weft-vulkan-%08x-%08x-%s.cache", folder, (unsigned)properties->vendorID,
                     (unsigned)properties->deviceID, uuid);
    return n > 0 && n < PATH_BYTES;
}

/* What the driver's data begins with (the Vulkan specification's VkPipelineCacheHeaderVersionOne). */
static bool is_of_driver(const weft_backend_device *device, const unsigned char *data, size_t bytes) {
    const VkPhysicalDeviceProperties *properties = &device->traits.properties;
    VkPipelineCacheHeaderVersionOne header;
    if (bytes < sizeof header) return false;
    memcpy(&header, data, sizeof header);
    return header.headerSize >= sizeof header && header.headerSize <= bytes &&
           header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE && header.vendorID == properties->vendorID &&
           header.deviceID == properties->deviceID &&
           memcmp(header.pipelineCacheUUID, properties->pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

static bool is_whole(const weft_backend_device *device, const unsigned char *file, size_t bytes) {
    cache_header header;
    memcpy(&header, file, sizeof header);
    return header.magic == MAGIC && header.bytes == bytes - sizeof header &&
           header.checksum == checksum_of(file + sizeof header, bytes - sizeof header) &&
           is_of_driver(device, file + sizeof header, bytes - sizeof header);
}

/* The file's content, or NULL. */
static unsigned char *read_file(weft_backend_device *device, size_t *bytes) {
    char path[PATH_BYTES];
    weft_os_file file;
    if (device->cache_folder == NULL || !path_of(device, device->cache_folder, path)) return NULL;
    weft_error reason = {0};
    weft_status status = weft_os_file_open_own(&file, path, &reason);
    if (status != WEFT_OK) {
        if (status != WEFT_NOT_FOUND) log_text(device, reason.message);
        return NULL;
    }
    unsigned char *content = NULL;
    *bytes = (size_t)file.size;
    if (file.size > sizeof(cache_header) && file.size <= LARGEST_FILE) content = weft_vulkan_allocate(device->host, *bytes);
    if (content != NULL && (weft_os_file_read(&file, 0, content, *bytes, NULL) != WEFT_OK || !is_whole(device, content, *bytes))) {
        log_text(device, "vulkan: the pipeline cache's file is damaged or not ours; shaders are compiled again");
        weft_vulkan_release(device->host, content, *bytes);
        content = NULL;
    }
    weft_os_file_close(&file);
    return content;
}

static weft_status keep_folder(weft_backend_device *device, const char *folder, weft_error *error) {
    if (folder == NULL) return WEFT_OK;
    size_t bytes = strlen(folder) + 1;
    device->cache_folder = weft_vulkan_allocate(device->host, bytes);
    if (device->cache_folder == NULL) return device->host->fail(error, WEFT_OUT_OF_MEMORY, "vulkan: no memory for a path");
    memcpy(device->cache_folder, folder, bytes);
    return WEFT_OK;
}

weft_status weft_vulkan_cache_load(weft_backend_device *device, const char *folder, weft_error *error) {
    weft_status status = keep_folder(device, folder, error);
    if (status != WEFT_OK) return status;
    size_t bytes = 0;
    unsigned char *file = read_file(device, &bytes);
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    if (file != NULL) {
        info.initialDataSize = bytes - sizeof(cache_header);
        info.pInitialData = file + sizeof(cache_header);
    }
    VkResult result = device->driver.vk.vkCreatePipelineCache(device->device, &info, NULL, &device->cache);
    weft_vulkan_release(device->host, file, bytes);
    return weft_vulkan_result(device, result, "a pipeline cache", error);
}

void weft_vulkan_cache_save(weft_backend_device *device) {
    const weft_vulkan_functions *vk = &device->driver.vk;
    if (device->cache_folder == NULL || !device->cache_changed || device->cache == VK_NULL_HANDLE) return;
    size_t size = 0;
    if (vk->vkGetPipelineCacheData(device->device, device->cache, &size, NULL) != VK_SUCCESS || size == 0) return;
    size_t bytes = size + sizeof(cache_header);
    unsigned char *file = weft_vulkan_allocate(device->host, bytes);
    if (file == NULL) return;
    if (vk->vkGetPipelineCacheData(device->device, device->cache, &size, file + sizeof(cache_header)) == VK_SUCCESS) {
        cache_header header = {MAGIC, size, checksum_of(file + sizeof header, size)};
        memcpy(file, &header, sizeof header);
        char path[PATH_BYTES];
        weft_error reason = {0};
        if (path_of(device, device->cache_folder, path) &&
            weft_os_file_replace(path, file, size + sizeof header, &reason) != WEFT_OK)
            log_text(device, reason.message);
    }
    weft_vulkan_release(device->host, file, bytes);
}
