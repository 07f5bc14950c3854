"""Numbers of the system calls that a recorder is denied, by architecture.

Sources: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux. Some of them
(clone, socket, openat and the like) are denied in part, see seccomp.py.
"""

from __future__ import annotations

# include/uapi/linux/audit.h
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# New calls have one number everywhere.
_EVERYWHERE = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "memfd_secret": 447,
    "fchmodat2": 452,
}

_X86_64 = {
    # Other programs and processes.
    "execve": 59, "execveat": 322, "fork": 57, "vfork": 58, "clone": 56, "ptrace": 101,
    "process_vm_readv": 310, "process_vm_writev": 311, "kill": 62, "tkill": 200, "tgkill": 234,
    "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "memfd_create": 319, "userfaultfd": 323,
    "prlimit64": 302, "setpriority": 141, "ioprio_set": 251, "sched_setaffinity": 203,
    "sched_setscheduler": 144, "sched_setparam": 142, "sched_setattr": 314, "migrate_pages": 256,
    "move_pages": 279, "fcntl": 72, "ioctl": 16,
    # Sockets that lead anywhere but to a camera, or that let somebody in.
    "socket": 41, "socketpair": 53, "listen": 50, "accept": 43, "accept4": 288,
    # Who we are.
    "setuid": 105, "setgid": 106, "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117,
    "setresgid": 119, "setfsuid": 122, "setfsgid": 123, "capset": 126, "keyctl": 250, "add_key": 248,
    "request_key": 249, "unshare": 272, "setns": 308, "personality": 135,
    # Files of others, what they hold (open and openat in part), and names of ours.
    "open": 2, "openat": 257, "creat": 85, "truncate": 76, "flock": 73,
    "unlink": 87, "unlinkat": 263, "rmdir": 84,
    "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
    "rename": 82, "renameat": 264, "renameat2": 316, "link": 86, "linkat": 265, "symlink": 88,
    "symlinkat": 266, "mknod": 133, "mknodat": 259, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
    "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
    "open_by_handle_at": 304, "name_to_handle_at": 303, "chroot": 161, "pivot_root": 155, "mount": 165,
    "umount2": 166, "quotactl": 179,
    # The machine.
    "settimeofday": 164, "clock_settime": 227, "reboot": 169, "swapon": 167, "swapoff": 168,
    "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173, "modify_ldt": 154, "acct": 163,
    "syslog": 103, "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246,
    "kexec_file_load": 320, "bpf": 321, "perf_event_open": 298,
}  # fmt: skip

_AARCH64 = {
    "execve": 221, "execveat": 281, "clone": 220, "ptrace": 117, "process_vm_readv": 270,
    "process_vm_writev": 271, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
    "rt_tgsigqueueinfo": 240, "memfd_create": 279, "userfaultfd": 282,
    "prlimit64": 261, "setpriority": 140, "ioprio_set": 30, "sched_setaffinity": 122,
    "sched_setscheduler": 119, "sched_setparam": 118, "sched_setattr": 274, "migrate_pages": 238,
    "move_pages": 239, "fcntl": 25, "ioctl": 29,
    "socket": 198, "socketpair": 199, "listen": 201, "accept": 202, "accept4": 242,
    "setuid": 146, "setgid": 144, "setreuid": 145, "setregid": 143, "setgroups": 159, "setresuid": 147,
    "setresgid": 149, "setfsuid": 151, "setfsgid": 152, "capset": 91, "keyctl": 219, "add_key": 217,
    "request_key": 218, "unshare": 97, "setns": 268, "personality": 92,
    "openat": 56, "truncate": 45, "flock": 32, "unlinkat": 35,
    "fchmod": 52, "fchmodat": 53, "fchown": 55, "fchownat": 54, "renameat": 38, "renameat2": 276,
    "linkat": 37, "symlinkat": 36, "mknodat": 33, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7,
    "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
    "open_by_handle_at": 265, "name_to_handle_at": 264, "chroot": 51, "pivot_root": 41, "mount": 40,
    "umount2": 39, "quotactl": 60,
    "settimeofday": 170, "clock_settime": 112, "reboot": 142, "swapon": 224, "swapoff": 225,
    "sethostname": 161, "setdomainname": 162, "acct": 89, "syslog": 116, "init_module": 105,
    "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "bpf": 280,
    "perf_event_open": 241,
}  # fmt: skip

CALLS = {"x86_64": _X86_64 | _EVERYWHERE, "aarch64": _AARCH64 | _EVERYWHERE}
