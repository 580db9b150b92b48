// C++: exceptions, containers, streams.
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
extern "C" {
#include "cemu_def.h"
long long words(struct cemu_args *args);
}

long long words(struct cemu_args *args)
{
    std::map<std::string, int> counts;
    const char *text = static_cast<const char *>(args->mr_addr[0]);
    std::string word;
    for (long long i = 0; i < args->mr_len[0]; i++) {
        if (text[i] != ' ') {
            word += text[i];
            continue;
        }
        counts[word]++;
        word.clear();
    }
    try {
        counts.at("not there");
    } catch (const std::out_of_range &) {
        std::cout << counts.size() << " words" << std::endl;
    }
    return counts.size();
}

extern "C" long long throws(struct cemu_args *)
{
    throw std::runtime_error("nobody catches it");
}
