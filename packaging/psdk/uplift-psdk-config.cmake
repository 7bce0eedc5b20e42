# find_package(uplift-psdk) gives the target uplift::psdk, the bridge between an application that uses DJI's Payload SDK and the daemon
# uplift:
#
#     project(app C)                    # and CXX, where the application is C++
#     find_package(uplift-psdk REQUIRED)
#     target_include_directories(app PRIVATE /path/to/Payload-SDK/psdk_lib/include)
#     target_link_libraries(app PRIVATE uplift::psdk)
#
# It is source: what links it compiles uplift_psdk.c, with its own flags and the vendor's headers. So link it with PRIVATE, and once
# in a program. It works under any prefix, and in a directory that has the two files beside this one.

# Without C, CMake would pass over the file silently.
get_property(_uplift_psdk_languages GLOBAL PROPERTY ENABLED_LANGUAGES)
list(FIND _uplift_psdk_languages C _uplift_psdk_c)
if(_uplift_psdk_c EQUAL -1)
    set(${CMAKE_FIND_PACKAGE_NAME}_FOUND FALSE)
    set(${CMAKE_FIND_PACKAGE_NAME}_NOT_FOUND_MESSAGE "uplift_psdk.c is C: name C among the project's languages")
    return()
endif()

include(CMakeFindDependencyMacro)
find_dependency(Threads)

if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/uplift_psdk.c")
    set(_uplift_psdk_source "${CMAKE_CURRENT_LIST_DIR}")
    set(_uplift_psdk_include "${CMAKE_CURRENT_LIST_DIR}")
else()
    get_filename_component(_uplift_psdk_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
    set(_uplift_psdk_source "${_uplift_psdk_prefix}/share/uplift-psdk")
    set(_uplift_psdk_include "${_uplift_psdk_prefix}/include/uplift-psdk")
endif()

if(NOT TARGET uplift::psdk)
    add_library(uplift::psdk INTERFACE IMPORTED)
    set_target_properties(uplift::psdk PROPERTIES
        INTERFACE_SOURCES "${_uplift_psdk_source}/uplift_psdk.c"
        INTERFACE_INCLUDE_DIRECTORIES "${_uplift_psdk_include}"
        INTERFACE_LINK_LIBRARIES Threads::Threads)
endif()
