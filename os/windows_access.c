/* Who may read and write a file on Windows (Microsoft Learn: "Access Control Lists", "Security Descriptor String Format"). */
#include "os/windows_files.h"

#include <aclapi.h>
#include <sddl.h>

static bool is_system(PSID sid) {
    return IsWellKnownSid(sid, WinLocalSystemSid) || IsWellKnownSid(sid, WinBuiltinAdministratorsSid);
}

typedef union user_buffer {
    TOKEN_USER user;
    BYTE bytes[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
} user_buffer;

static bool find_user(user_buffer *user) {
    HANDLE token;
    DWORD size;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) return false;
    bool found = GetTokenInformation(token, TokenUser, user, sizeof *user, &size);
    CloseHandle(token);
    return found;
}

/* Whether the entry of a list lets somebody write who is neither the owner nor the system. */
static bool lets_others_write(ACE_HEADER *entry, PSID user) {
    const DWORD writes = FILE_WRITE_DATA | FILE_APPEND_DATA | WRITE_DAC | WRITE_OWNER | DELETE | GENERIC_WRITE | GENERIC_ALL;
    if (entry->AceType == ACCESS_DENIED_ACE_TYPE || (entry->AceFlags & INHERIT_ONLY_ACE)) return false;
    if (entry->AceType != ACCESS_ALLOWED_ACE_TYPE) return true; /* rare kinds are not looked into */
    ACCESS_ALLOWED_ACE *allowed = (ACCESS_ALLOWED_ACE *)(void *)entry;
    PSID sid = &allowed->SidStart;
    return (allowed->Mask & writes) && !EqualSid(sid, user) && !is_system(sid) && !IsWellKnownSid(sid, WinCreatorOwnerRightsSid);
}

const char *weft_os_foreign(HANDLE file) {
    PSID owner = NULL;
    PACL list = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    user_buffer user;
    const char *reason = NULL;
    if (!find_user(&user) || GetSecurityInfo(file, SE_FILE_OBJECT, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, &owner,
                                             NULL, &list, NULL, &descriptor) != ERROR_SUCCESS)
        return "is not trusted: its owner is unknown";
    if (!owner || !(EqualSid(owner, user.user.User.Sid) || is_system(owner)))
        reason = "is not trusted: it belongs to another user";
    else if (!list)
        reason = "is not trusted: others than its owner may write it";
    for (DWORD i = 0; !reason && i < list->AceCount; i++) {
        void *entry;
        if (!GetAce(list, i, &entry) || lets_others_write(entry, user.user.User.Sid))
            reason = "is not trusted: others than its owner may write it";
    }
    LocalFree(descriptor);
    return reason;
}

/* Protected from what its folder would hand down; all rights for the owner, the system and the administrators. */
bool weft_os_private_make(weft_os_private *private) {
    private->attributes = (SECURITY_ATTRIBUTES){.nLength = sizeof private->attributes};
    return ConvertStringSecurityDescriptorToSecurityDescriptorW(L"D:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)", SDDL_REVISION_1,
                                                                &private->attributes.lpSecurityDescriptor, NULL);
}

void weft_os_private_free(weft_os_private *private) {
    LocalFree(private->attributes.lpSecurityDescriptor);
}
