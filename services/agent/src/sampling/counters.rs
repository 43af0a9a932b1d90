//! What the files of a control group say. Pure.

/// What the kernel has counted of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Processor time since the container was started, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory in use in bytes, without the page cache that the kernel would give back at once: as
    /// `docker stats` counts it. `None` where the kernel does not count memory.
    pub memory_bytes: Option<u64>,
}

/// Processor time in nanoseconds, from version 1's `cpuacct.usage`.
pub fn cpu_v1(usage: &str) -> Option<u64> {
    number(usage)
}

/// Processor time in nanoseconds, from version 2's `cpu.stat`.
pub fn cpu_v2(stat: &str) -> Option<u64> {
    field(stat, "usage_usec")?.checked_mul(1_000)
}

/// Memory in use, from version 1's `memory.usage_in_bytes` and `memory.stat`. What a group below it uses
/// counts, too.
pub fn memory_v1(usage: &str, stat: &str) -> Option<u64> {
    let inactive = field(stat, "total_inactive_file").or_else(|| field(stat, "inactive_file"));
    Some(number(usage)?.saturating_sub(inactive.unwrap_or_default()))
}

/// Memory in use, from version 2's `memory.current` and `memory.stat`.
pub fn memory_v2(current: &str, stat: &str) -> Option<u64> {
    Some(number(current)?.saturating_sub(field(stat, "inactive_file").unwrap_or_default()))
}

fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// The number behind a name, in a file with one of each on every line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a container with PostgreSQL, on a kernel 6.1 with version 1.
    const STAT_V1: &str = "\
cache 21651456
rss 8544256
rss_huge 0
shmem 8998912
mapped_file 7536640
dirty 86016
writeback 0
workingset_refault_anon 0
workingset_refault_file 8955
swap 0
swapcached 0
pgpgin 204438
pgpgout 199520
pgfault 294632
pgmajfault 0
inactive_anon 0
active_anon 1531904
inactive_file 86016
active_file 2514944
unevictable 16011264
hierarchical_memory_limit 9223372036854771712
hierarchical_memsw_limit 9223372036854771712
total_cache 21651456
total_rss 8544256
total_inactive_anon 0
total_active_anon 1531904
total_inactive_file 3145728
total_active_file 2514944
total_unevictable 16011264
";

    /// Of a container with nginx, on a kernel 6.1 with version 2.
    const STAT_V2: &str = "\
anon 2342912
file 5890048
kernel 1196032
kernel_stack 49152
pagetables 200704
sec_pagetables 0
percpu 288
sock 0
vmalloc 8192
shmem 4096
zswap 0
zswapped 0
file_mapped 2666496
file_dirty 0
file_writeback 0
swapcached 0
anon_thp 0
file_thp 0
shmem_thp 0
inactive_anon 2338816
active_anon 4096
inactive_file 4767744
active_file 1118208
unevictable 0
slab_reclaimable 611952
slab_unreclaimable 298144
";

    const CPU_V2: &str = "\
usage_usec 4253187
user_usec 2741882
system_usec 1511305
core_sched.force_idle_usec 0
nr_periods 0
nr_throttled 0
throttled_usec 0
nr_bursts 0
burst_usec 0
";

    #[test]
    fn version_1_is_read_as_docker_stats_reads_it() {
        assert_eq!(cpu_v1("63054130071037\n"), Some(63_054_130_071_037));
        assert_eq!(memory_v1("31457280\n", STAT_V1), Some(31_457_280 - 3_145_728));
    }

    #[test]
    fn version_2_is_read_as_docker_stats_reads_it() {
        assert_eq!(cpu_v2(CPU_V2), Some(4_253_187_000));
        assert_eq!(memory_v2("9428992\n", STAT_V2), Some(9_428_992 - 4_767_744));
    }

    #[test]
    fn more_cache_than_memory_is_no_memory() {
        assert_eq!(memory_v2("4096\n", STAT_V2), Some(0));
    }

    #[test]
    fn a_name_that_only_begins_alike_is_another() {
        assert_eq!(field("inactive_files 1\ninactive_file 2\n", "inactive_file"), Some(2));
        assert_eq!(cpu_v2("user_usec 1\n"), None);
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        assert_eq!([cpu_v1(""), cpu_v1("max\n"), cpu_v1("-1\n"), memory_v2("", STAT_V2)], [None; 4]);
        assert_eq!(cpu_v2("usage_usec 18446744073709551615\n"), None, "more nanoseconds than can be counted");
        assert_eq!(memory_v1("5\n", ""), Some(5), "without details all of it counts");
    }
}
