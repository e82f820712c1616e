//! Which of the host's extensions the guest is told of: those of the kernels' language, and those whose functions, properties
//! and questions are carried.

/// Extensions that are carried.
const CARRIED: &[&str] = &[
    "cl_amd_device_attribute_query",
    "cl_amd_fp64",
    "cl_amd_media_ops",
    "cl_amd_media_ops2",
    "cl_amd_popcnt",
    "cl_amd_printf",
    "cl_amd_vec3",
    "cl_ext_float_atomics",
    "cl_khr_3d_image_writes",
    "cl_khr_byte_addressable_store",
    "cl_khr_create_command_queue",
    "cl_khr_depth_images",
    "cl_khr_device_uuid",
    "cl_khr_expect_assume",
    "cl_khr_extended_bit_ops",
    "cl_khr_extended_versioning",
    "cl_khr_fp16",
    "cl_khr_fp64",
    "cl_khr_global_int32_base_atomics",
    "cl_khr_global_int32_extended_atomics",
    "cl_khr_icd",
    "cl_khr_il_program",
    "cl_khr_image2d_from_buffer",
    "cl_khr_initialize_memory",
    "cl_khr_int64_base_atomics",
    "cl_khr_int64_extended_atomics",
    "cl_khr_integer_dot_product",
    "cl_khr_kernel_clock",
    "cl_khr_local_int32_base_atomics",
    "cl_khr_local_int32_extended_atomics",
    "cl_khr_pci_bus_info",
    "cl_khr_priority_hints",
    "cl_khr_select_fprounding_mode",
    "cl_khr_spir",
    "cl_khr_spirv_extended_debug_info",
    "cl_khr_spirv_linkonce_odr",
    "cl_khr_spirv_no_integer_wrap_decoration",
    "cl_khr_subgroups",
    "cl_khr_suggested_local_work_size",
    "cl_khr_throttle_hints",
    "cl_khr_work_group_uniform_arithmetic",
    "cl_nv_compiler_options",
    "cl_nv_device_attribute_query",
    "cl_nv_pragma_unroll",
    "cles_khr_2d_image_array_writes",
    "cles_khr_int64",
];

/// Families of extensions of the kernels' language.
const CARRIED_FAMILIES: &[&str] =
    &["cl_khr_subgroup_", "cl_intel_subgroups", "cl_intel_bfloat16", "cl_arm_integer_dot"];

/// Bytes of a `cl_name_version`: a version, then a name of 64 bytes.
const NAME_VERSION_BYTES: usize = 68;

/// Whether an extension is carried.
#[must_use]
pub fn is_carried(name: &str) -> bool {
    CARRIED.contains(&name) || CARRIED_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// What is left of a list of names; `first` stands before them.
#[must_use]
pub fn filter(names: &str, first: &[&str]) -> String {
    let rest = names.split_ascii_whitespace().filter(|name| is_carried(name) && !first.contains(name));
    first.iter().copied().chain(rest).collect::<Vec<_>>().join(" ")
}

/// What is left of a list of `cl_name_version`; `first` stands before it, in version 1.0.0.
#[must_use]
pub fn filter_versions(list: &[u8], first: &[&str]) -> Vec<u8> {
    let mut left = Vec::new();
    for name in first {
        left.extend((1u32 << 22).to_ne_bytes());
        left.extend(name.bytes().chain(std::iter::repeat(0)).take(NAME_VERSION_BYTES - 4));
    }
    for entry in list.chunks_exact(NAME_VERSION_BYTES) {
        let name = crate::answer::text(&entry[4..]);
        if is_carried(&name) && !first.contains(&name.as_str()) {
            left.extend(entry);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_when_an_extension_is_not_carried_then_drops_it() {
        let names = "cl_khr_fp64 cl_khr_gl_sharing cl_khr_subgroup_ballot cl_khr_icd";
        assert_eq!(filter(names, &["cl_khr_icd"]), "cl_khr_icd cl_khr_fp64 cl_khr_subgroup_ballot");
        assert_eq!(filter("", &[]), "");
    }

    #[test]
    fn filter_versions_when_an_extension_is_not_carried_then_drops_it() {
        let entry = |name: &str| filter_versions(&[], &[name]);
        let list = [entry("cl_khr_fp64"), entry("cl_khr_gl_sharing")].concat();
        assert_eq!(filter_versions(&list, &["cl_khr_icd"]), [entry("cl_khr_icd"), entry("cl_khr_fp64")].concat());
    }
}
