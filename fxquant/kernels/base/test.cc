// Instruction sets have names; of teams, barriers and programs every part of a range runs once, and nothing runs before
// what it waits for.
#include "base/test.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/parallel.h"
#include "base/program.h"

namespace fxquant {
namespace {

constexpr int kMostThreads = 4;

// How often each index of [0, count) was in a part.
std::vector<int> visits(int64_t count, int threads) {
  std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
  parallel_for(count, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
  });
  return std::vector<int>(seen.begin(), seen.end());
}

TEST(ParallelFor, VisitsEachIndexOnce) {
  for (int threads = 1; threads <= kMostThreads; ++threads) {
    for (const int64_t count : {0, 1, 2, 3, 4, 5, 1000}) {
      EXPECT_EQ(visits(count, threads), std::vector<int>(static_cast<size_t>(count), 1)) << count << ", " << threads;
    }
  }
}

TEST(ParallelFor, VisitsEachIndexOnceInsideATeam) {
  for (int team = 1; team <= kMostThreads; ++team) {
    for (int threads = 1; threads <= kMostThreads + 1; ++threads) {
      for (const int64_t count : {0, 1, 3, 1000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
        run_team(team, [&] {
          parallel_for(count, threads, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
          });
        });
        for (const auto& times : seen) EXPECT_EQ(times, 1) << count << " on " << threads << " of " << team;
      }
    }
  }
}

TEST(Team, EachMemberRunsOnceAndLeaves) {
  for (int threads = 1; threads <= kMostThreads; ++threads) {
    std::atomic<int> indices{0}, wrong{0};
    run_team(threads, [&] {
      indices += 1 << (4 * member.index);
      if (member.size != threads || !member.barrier) ++wrong;
    });
    EXPECT_EQ(indices, 0x1111 >> (4 * (kMostThreads - threads)));
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(member.barrier, nullptr);
    EXPECT_EQ(member.size, 1);
  }
}

// What one thread wrote before a barrier the others read behind it, without atomics; round after round.
TEST(Barrier, PartsRoundsInARow) {
  constexpr int kRounds = 5000;
  for (int threads = 1; threads <= kMostThreads; ++threads) {
    std::vector<int> written(static_cast<size_t>(threads), 0);
    std::atomic<int> wrong{0};
    run_team(threads, [&] {
      for (int round = 1; round <= kRounds; ++round) {
        written[static_cast<size_t>(member.index)] = round;
        member.barrier->wait(member.size);
        for (const int each : written) wrong += each != round;
        member.barrier->wait(member.size);
      }
    });
    EXPECT_EQ(wrong, 0) << threads << " threads";
  }
}

// A program that squares and sums along its arena: step i reads all that step i - 1 wrote.
void add_steps(Program& program, int64_t count, int steps) {
  program.add([count](const Frame& frame) {
    const int64_t* x = frame.at<const int64_t>({1, 0});
    int64_t* y = frame.at<int64_t>({0, 0});
    parallel_for(count, frame.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = x[i];
    });
  });
  for (int step = 0; step < steps; ++step) {
    program.add([count, step](const Frame& frame) {
      const int64_t bytes = count * 8;
      const int64_t* x = frame.at<const int64_t>({0, step % 2 * bytes});
      int64_t* y = frame.at<int64_t>({0, (step + 1) % 2 * bytes});
      parallel_for(count, frame.threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) y[i] = x[count - 1 - i] + 1;
      });
    });
  }
  program.add([count, steps](const Frame& frame) {
    const int64_t* x = frame.at<const int64_t>({0, steps % 2 * count * 8});
    int64_t* y = frame.at<int64_t>({2, 0});
    parallel_for(count, frame.threads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) y[i] = x[i];
    });
  });
}

bool runs_right(Program& program, int64_t count, int steps, int threads, int64_t first) {
  std::vector<int64_t> x(static_cast<size_t>(count)), y(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) x[static_cast<size_t>(i)] = first + i;
  program.run(threads, [&](uintptr_t* bases) {
    bases[0] = reinterpret_cast<uintptr_t>(x.data());
    bases[1] = reinterpret_cast<uintptr_t>(y.data());
  });
  for (int64_t i = 0; i < count; ++i) {
    const int64_t source = steps % 2 ? count - 1 - i : i;
    if (y[static_cast<size_t>(i)] != first + source + steps) return false;
  }
  return true;
}

TEST(Program, StepsFollowEachOther) {
  constexpr int64_t kCount = 37;
  constexpr int kSteps = 51;
  Program program(2 * kCount * 8, 2);
  add_steps(program, kCount, kSteps);
  for (int threads = 1; threads <= kMostThreads; ++threads) {
    for (int run = 0; run < 20; ++run) ASSERT_TRUE(runs_right(program, kCount, kSteps, threads, run));
  }
  EXPECT_EQ(program.arenas(), 1);
  EXPECT_EQ(program.size(), kSteps + 2);
}

TEST(Program, RunsAtOnceHaveArenasOfTheirOwn) {
  constexpr int64_t kCount = 37;
  constexpr int kSteps = 51, kCallers = 4;
  Program program(2 * kCount * 8, 2);
  add_steps(program, kCount, kSteps);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&, caller] {
      for (int run = 0; run < 20; ++run) wrong += !runs_right(program, kCount, kSteps, 1 + caller % 2, 100 * caller);
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(program.arenas(), kCallers);
}

TEST(Program, WorkersShareTheParts) {
  constexpr int64_t kCount = 37, kParts = 6;
  constexpr int kSteps = 50;
  for (const int workers : {1, 2, 3, 4}) {
    Program program(2 * kCount * 8, 2);
    add_steps(program, kCount, kSteps);
    std::vector<int64_t> x(kCount * kParts), y(kCount * kParts);
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<int64_t>(i);
    const std::vector<uintptr_t> addresses = {reinterpret_cast<uintptr_t>(x.data()),
                                              reinterpret_cast<uintptr_t>(y.data())};
    program.run_parts(workers, 1, kParts, addresses, {kCount * 8, kCount * 8});
    for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], x[i] + kSteps);
    EXPECT_EQ(program.arenas(), workers);
  }
}

// Rounds in which thread i adds up what all threads wrote in the round before, and may write over what they read in it
// only two rounds later.
TEST(Program, SharesWaitForTheStepsTheyName) {
  constexpr int kRounds = 200;
  for (int shares = 1; shares <= kMostThreads; ++shares) {
    Program program(0, 1);
    for (int round = 1; round <= kRounds; ++round) {
      for (int share = 0; share < shares; ++share) {
        program.add([=](const Frame& frame) {
          int64_t* sums = frame.at<int64_t>({1, 0});
          const int64_t* before = sums + (round - 1) % 2 * shares;
          int64_t sum = 0;
          for (int i = 0; i < shares; ++i) sum += before[i];
          sums[round % 2 * shares + share] = sum / shares + 1;
        });
      }
      program.share(shares, round - 1);
    }
    program.add([=](const Frame& frame) {
      int64_t* sums = frame.at<int64_t>({1, 0});
      parallel_for(1, frame.threads, [&](int64_t, int64_t) {
        for (int i = 0; i < shares; ++i) sums[2 * shares] += sums[kRounds % 2 * shares + i];
      });
    });
    EXPECT_EQ(program.size(), kRounds + 1);
    for (int threads = 1; threads <= kMostThreads; ++threads) {
      std::vector<int64_t> sums(static_cast<size_t>(2 * shares + 1), 0);
      program.run(threads, [&](uintptr_t* bases) { bases[0] = reinterpret_cast<uintptr_t>(sums.data()); });
      EXPECT_EQ(sums.back(), shares * kRounds) << shares << " shares, " << threads << " threads";
    }
  }
}

TEST(Program, SharesAreStepsOfTheProgram) {
  Program program(0, 0);
  program.add([](const Frame&) {});
  EXPECT_THROW(program.share(2, 0), std::invalid_argument);
  EXPECT_THROW(program.share(0, 0), std::invalid_argument);
}

TEST(Program, TimesEachStep) {
  for (const int workers : {1, 2}) {
    Program program(0, 0);
    for (int i = 0; i < 3; ++i) program.add([](const Frame&) {});
    double seconds[3] = {1, 1, 1};
    program.run_parts(workers, 2, 4, {}, {}, seconds);
    for (const double each : seconds) EXPECT_GE(each, 1);
  }
}

std::string names(const std::vector<Isa>& isas) {
  std::string text;
  for (const Isa isa : isas) text += (text.empty() ? "" : " ") + std::string(isa_name(isa));
  return text;
}

TEST(Isa, EveryOneHasANameOfItsOwn) {
  std::vector<std::string> all;
  for (int i = 0; i < kIsaCount; ++i) all.emplace_back(isa_name(static_cast<Isa>(i)));
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
  EXPECT_EQ(std::count(all.begin(), all.end(), "unknown"), 0);
}

TEST(Isa, TheBestIsTheLastSupported) { EXPECT_EQ(best_isa(), supported_isas().back()); }

// FXQUANT_TEST_ISAS says what the machine is known to have: without it, one that is not found is tested nowhere.
TEST(Isa, SupportedAreThoseOfTheMachine) {
  const char* known = std::getenv("FXQUANT_TEST_ISAS");
  if (!known) GTEST_SKIP() << "FXQUANT_TEST_ISAS is not set; supported: " << names(supported_isas());
  EXPECT_EQ(names(supported_isas()), known);
}

}  // namespace
}  // namespace fxquant
