# It bites: each mutants/NAME.patch puts one bug into one source of halb, halb_sim_NAME is the simulation with it, and the test
# sim.bites.NAME holds only if the seeds of sim.seeds and the kept ones find it. The first line of a patch says what is wrong.
# Built by the test sim.bites, not by default: a bug that no longer fits the source fails there, and not in `make`.
file(GLOB mutants CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/mutants/*.patch)
add_custom_target(sim_mutants)
add_test(NAME sim.bites COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR} --target sim_mutants)
set_tests_properties(sim.bites PROPERTIES TIMEOUT 300 PROCESSORS 2 FIXTURES_SETUP sim_mutants)
foreach(patch ${mutants})
    get_filename_component(name ${patch} NAME_WE)
    file(STRINGS ${patch} source REGEX "^\\+\\+\\+ b/" LIMIT_COUNT 1)
    string(REGEX REPLACE "^\\+\\+\\+ b/" "" source "${source}")
    get_filename_component(folder ${CMAKE_SOURCE_DIR}/${source} DIRECTORY)
    set(mutated ${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}.c)
    # Where the lines have moved it still fits; where they have changed, somebody must look.
    add_custom_command(OUTPUT ${mutated} DEPENDS ${patch} ${CMAKE_SOURCE_DIR}/${source} VERBATIM
                       COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_CURRENT_BINARY_DIR}/mutants
                       COMMAND patch -s -F0 -r - -o ${mutated} ${CMAKE_SOURCE_DIR}/${source} ${patch})
    # An object that stands before the archive's of the same name.
    add_executable(halb_sim_${name} EXCLUDE_FROM_ALL ${mutated})
    target_include_directories(halb_sim_${name} PRIVATE ${folder} $<TARGET_PROPERTY:PkgConfig::URING,INTERFACE_INCLUDE_DIRECTORIES>)
    target_compile_options(halb_sim_${name} PRIVATE -w)
    target_link_libraries(halb_sim_${name} PRIVATE sim ${sim_libraries})
    add_dependencies(sim_mutants halb_sim_${name})
    add_test(NAME sim.bites.${name} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/bites $<TARGET_FILE:halb_sim_${name}> ${patch} ${sim_seeds}
                                            ${CMAKE_CURRENT_SOURCE_DIR}/seeds.txt)
    set_tests_properties(sim.bites.${name} PROPERTIES TIMEOUT 300 PROCESSORS 2 FIXTURES_REQUIRED sim_mutants)
endforeach()
