{
  # One baseline binary. Each instruction set is a library of its own, compiled from the same
  # source (native/simd/operations.inl) with its own flags; which one runs is decided at run time.
  "variables": { "openssl_fips": "" },
  "target_defaults": {
    "cflags": ["-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-psabi", "-ffp-contract=off"],
    "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti"],
    "cflags!": ["-fno-omit-frame-pointer"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++1y", "-std=gnu++14"],
    "xcode_settings": {
      "GCC_OPTIMIZATION_LEVEL": "3",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "GCC_ENABLE_CPP_EXCEPTIONS": "NO",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off"],
    },
    "include_dirs": ["native/include"],
  },
  "targets": [
    {
      "target_name": "hebb_scalar",
      "type": "static_library",
      "sources": ["native/simd/scalar.cpp"],
    },
    {
      "target_name": "hebb_avx2",
      "type": "static_library",
      "sources": ["native/simd/avx2.cpp"],
      "conditions": [["target_arch=='x64'", {
        "cflags": ["-mavx2", "-mfma", "-mf16c", "-msse4.2", "-mpopcnt"],
        "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off", "-mavx2", "-mfma", "-mf16c", "-msse4.2", "-mpopcnt"] },
      }]],
    },
    {
      "target_name": "hebb_avx512",
      "type": "static_library",
      "sources": ["native/simd/avx512.cpp"],
      "conditions": [["target_arch=='x64'", {
        "cflags": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-msse4.2", "-mpopcnt", "-mprefer-vector-width=512"],
        "xcode_settings": { "OTHER_CPLUSPLUSFLAGS": ["-ffp-contract=off", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-msse4.2", "-mpopcnt", "-mprefer-vector-width=512"] },
      }]],
    },
    {
      "target_name": "hebb_neon",
      "type": "static_library",
      "sources": ["native/simd/neon.cpp"],
      "conditions": [["target_arch=='arm64'", { "cflags": ["-march=armv8-a+crc"] }]],
    },
    {
      "target_name": "hebb",
      "dependencies": [
        "hebb_scalar", "hebb_avx2", "hebb_avx512", "hebb_neon",
        "<!(node -p \"require('node-addon-api').targets\"):node_addon_api",
      ],
      "sources": [
        "native/addon.cpp",
        "native/addon-region.cpp",
        "native/addon-graph.cpp",
        "native/simd/dispatch.cpp",
        "native/map/platform.cpp",
        "native/map/region.cpp",
        "native/quantize/rotation.cpp",
        "native/quantize/rabitq.cpp",
        "native/quantize/space.cpp",
        "native/graph/graph.cpp",
        "native/graph/search.cpp",
        "native/graph/rows.cpp",
        "native/graph/fit.cpp",
        "native/graph/link.cpp",
        "native/graph/calibrate.cpp",
        "native/graph/consolidate.cpp",
      ],
    },
  ],
}
