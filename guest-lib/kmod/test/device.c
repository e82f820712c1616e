// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Tests of /dev/gpuferry by raw ioctls; they need nothing of the window's contents, so they
 * run against any back-end. Build: cc -O2 -Wall -static -pthread -I.. -o device device.c
 *
 *   device [--unbind] [/dev/gpuferry]    each test is one line; exit status 0: all passed
 *
 * --unbind takes the device from its driver while files are open (needs root).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uapi/gpuferry.h"

#define DRIVER "/sys/bus/virtio/drivers/virtio_gpuferry"
#define THREADS 8

static const char *node = "/dev/gpuferry";
static unsigned int window_bytes, max_pin_pages;
static int failures;

struct session {
	int fd;
	volatile uint32_t *window;
};

static void expect(int line, const char *what, long found, long expected)
{
	if (found == expected)
		return;
	printf("  line %d: %s: found %ld, expected %ld\n", line, what, found, expected);
	failures++;
}

#define EXPECT(what, expected) expect(__LINE__, #what, what, expected)

/* 0 or the error number. */
static int call(int fd, unsigned long command, void *argument)
{
	return ioctl(fd, command, argument) ? errno : 0;
}

static int pin(int fd, void *address, uint64_t bytes, uint32_t flags, uint32_t *lease)
{
	struct gpuferry_ioctl_pin argument = {
		.address = (uintptr_t)address, .bytes = bytes, .flags = flags,
	};
	int error = call(fd, GPUFERRY_IOC_PIN, &argument);

	if (lease)
		*lease = argument.lease;
	return error;
}

static int unpin_with(int fd, uint32_t lease, uint32_t flags)
{
	struct gpuferry_ioctl_unpin argument = { .lease = lease, .flags = flags };

	return call(fd, GPUFERRY_IOC_UNPIN, &argument);
}

static int unpin(int fd, uint32_t lease)
{
	return unpin_with(fd, lease, 0);
}

static int wait_word(int fd, uint32_t offset, uint32_t value, uint64_t timeout_ns)
{
	struct gpuferry_ioctl_wait argument = { offset, value, timeout_ns };

	return call(fd, GPUFERRY_IOC_WAIT, &argument);
}

static int map_error(int fd, size_t bytes, int flags, off_t offset)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, offset);

	if (at == MAP_FAILED)
		return errno;
	munmap(at, bytes);
	return 0;
}

static struct session session_open(void)
{
	struct session session = { .fd = open(node, O_RDWR | O_CLOEXEC) };

	if (session.fd < 0 || call(session.fd, GPUFERRY_IOC_SETUP, NULL)) {
		printf("  %s: %s\n", node, strerror(errno));
		exit(1);
	}
	session.window = mmap(NULL, window_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			      session.fd, 0);
	if (session.window == MAP_FAILED) {
		printf("  mmap: %s\n", strerror(errno));
		exit(1);
	}
	return session;
}

static void session_close(struct session session)
{
	munmap((void *)session.window, window_bytes);
	close(session.fd);
}

static void *memory(size_t bytes, int protection)
{
	return mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

/*
 * Pages pinned in the whole system. With several processors the counters are exact only
 * after a refresh, which needs root; with one there is none to ask for.
 */
static long pinned(void)
{
	int refresh = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	FILE *file = fopen("/proc/vmstat", "r");
	long acquired = 0, released = 0;
	char line[128];

	if (refresh >= 0 && write(refresh, "1", 1) != 1)
		printf("  stat_refresh: %s\n", strerror(errno));
	close(refresh);
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "nr_foll_pin_acquired %ld", &acquired);
		sscanf(line, "nr_foll_pin_released %ld", &released);
	}
	fclose(file);
	return acquired - released;
}

/* Closing does not wait for the device: allow it 10 s. */
static long pinned_in_the_end(long expected)
{
	int i;

	for (i = 0; i < 1000 && pinned() != expected; i++)
		usleep(10000);
	return pinned();
}

static void info_is_checked_by_the_driver(void)
{
	struct gpuferry_ioctl_info info = { 0 };
	int fd = open(node, O_RDWR);

	EXPECT(call(fd, GPUFERRY_IOC_INFO, &info), 0);
	EXPECT(info.config.magic, GPUFERRY_MAGIC);
	EXPECT(info.config.major, GPUFERRY_DEVICE_MAJOR);
	window_bytes = info.config.window_bytes;
	max_pin_pages = info.config.max_pin_pages;
	EXPECT(call(fd, GPUFERRY_IOC_INFO, NULL), EFAULT);
	EXPECT(call(fd, _IO(GPUFERRY_IOCTL_TYPE, 2), NULL), EINVAL);
	close(fd);
}

static void calls_before_setup_are_refused(void)
{
	int fd = open(node, O_RDWR);

	EXPECT(call(fd, GPUFERRY_IOC_KICK, NULL), EINVAL);
	EXPECT(wait_word(fd, 0, 0, 1), EINVAL);
	EXPECT(map_error(fd, window_bytes, MAP_SHARED, 0), EINVAL);
	close(fd);
}

static void setup_and_mmap_work_once(void)
{
	char *page = memory(4096, PROT_READ | PROT_WRITE);
	int fd = open(node, O_RDWR);
	void *window;

	EXPECT(call(fd, GPUFERRY_IOC_SETUP, NULL), 0);
	EXPECT(call(fd, GPUFERRY_IOC_SETUP, NULL), EBUSY);
	EXPECT(pin(fd, page, 1, GPUFERRY_PIN_READ, NULL), EINVAL);
	EXPECT(map_error(fd, window_bytes - 4096, MAP_SHARED, 0), EINVAL);
	EXPECT(map_error(fd, window_bytes, MAP_SHARED, 4096), EINVAL);
	EXPECT(map_error(fd, window_bytes, MAP_PRIVATE, 0), EINVAL);
	window = mmap(NULL, window_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(window != MAP_FAILED, 1);
	EXPECT(map_error(fd, window_bytes, MAP_SHARED, 0), EBUSY);
	EXPECT(munmap(window, 4096), -1);
	EXPECT(madvise(window, window_bytes, MADV_DOFORK), -1);
	EXPECT(mremap(window, window_bytes, window_bytes + 4096, MREMAP_MAYMOVE) == MAP_FAILED, 1);
	window = mremap(window, window_bytes, window_bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
			(char *)memory(window_bytes, PROT_NONE));
	EXPECT(window != MAP_FAILED, 1);
	EXPECT(call(fd, GPUFERRY_IOC_KICK, NULL), 0);
	EXPECT(munmap(window, window_bytes), 0);
	EXPECT(call(fd, GPUFERRY_IOC_KICK, NULL), EPIPE);
	EXPECT(map_error(fd, window_bytes, MAP_SHARED, 0), EPIPE);
	close(fd);
	munmap(page, 4096);
}

static void children_have_no_session(void)
{
	struct session session = session_open();
	int status, pipes[2];

	fflush(stdout);
	if (!fork()) {
		failures = 0;
		EXPECT(call(session.fd, GPUFERRY_IOC_KICK, NULL), EPERM);
		EXPECT(pin(session.fd, &status, 4, GPUFERRY_PIN_READ, NULL), EPERM);
		EXPECT(map_error(session.fd, window_bytes, MAP_SHARED, 0), EPERM);
		EXPECT(pipe(pipes), 0);
		EXPECT(write(pipes[1], (void *)session.window, 4), -1);
		fflush(stdout);
		_exit(failures != 0);
	}
	wait(&status);
	EXPECT(status, 0);
	EXPECT(call(session.fd, GPUFERRY_IOC_KICK, NULL), 0);
	session_close(session);
}

static void nothing(int number)
{
}

static void wait_ends_by_value_time_and_signal(void)
{
	struct session session = session_open();
	struct sigaction action = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	uint32_t last = window_bytes - 4;
	uint64_t start = now_ns();

	EXPECT(wait_word(session.fd, last, 1, 0), 0);
	EXPECT(wait_word(session.fd, last, 0, 20000000), ETIMEDOUT);
	EXPECT(now_ns() - start >= 20000000, 1);
	EXPECT(wait_word(session.fd, last + 4, 0, 1), EINVAL);
	EXPECT(wait_word(session.fd, last - 1, 0, 1), EINVAL);
	EXPECT(wait_word(session.fd, UINT32_MAX - 3, 0, 1), EINVAL);
	sigaction(SIGALRM, &action, NULL);
	alarm(1);
	EXPECT(wait_word(session.fd, last, 0, UINT64_MAX), EINTR);
	alarm(1);
	EXPECT(wait_word(session.fd, last, 0, 0), EINTR);
	session_close(session);
}

static void wrong_pins_are_refused(void)
{
	struct session session = session_open();
	char *page = memory(8192, PROT_READ | PROT_WRITE);
	long before = pinned();
	uint32_t lease;

	/* A page of its own: the kernel does not count pins of its zero page. */
	page[0] = 1;
	EXPECT(mprotect(page, 8192, PROT_READ), 0);

	EXPECT(pin(session.fd, page, 0, GPUFERRY_PIN_READ, NULL), EINVAL);
	EXPECT(pin(session.fd, page, 1, 0, NULL), EINVAL);
	EXPECT(pin(session.fd, page, 1, 4, NULL), EINVAL);
	EXPECT(pin(session.fd, page, UINT64_MAX, GPUFERRY_PIN_READ, NULL), EINVAL);
	EXPECT(pin(session.fd, page, max_pin_pages * 4096ULL + 1, GPUFERRY_PIN_READ, NULL), EINVAL);
	EXPECT(pin(session.fd, (void *)-4096UL, 4096, GPUFERRY_PIN_READ, NULL), EFAULT);
	EXPECT(pin(session.fd, page, 1, GPUFERRY_PIN_WRITE, NULL), EFAULT);
	munmap(page + 4096, 4096);
	EXPECT(pin(session.fd, page, 8192, GPUFERRY_PIN_READ, NULL), EFAULT);
	EXPECT(call(session.fd, GPUFERRY_IOC_PIN, page + 4096), EFAULT);
	EXPECT(unpin(session.fd, 0), ENOENT);
	EXPECT(unpin(session.fd, UINT32_MAX), ENOENT);
	EXPECT(pinned(), before);
	EXPECT(pin(session.fd, page + 4095, 1, GPUFERRY_PIN_READ, &lease), 0);
	EXPECT(pinned(), before + 1);
	EXPECT(unpin(session.fd, lease), 0);
	EXPECT(unpin(session.fd, lease), ENOENT);
	EXPECT(pinned(), before);
	session_close(session);
	munmap(page, 4096);
}

static void leases_that_nobody_waits_for_end(void)
{
	struct session session = session_open();
	char *page = memory(4096, PROT_READ | PROT_WRITE);
	long before = pinned();
	uint32_t lease;
	int i;

	page[0] = 1;
	EXPECT(pin(session.fd, page, 1, GPUFERRY_PIN_READ, &lease), 0);
	EXPECT(unpin_with(session.fd, lease, 2), EINVAL);
	EXPECT(unpin_with(session.fd, lease, GPUFERRY_UNPIN_LATE), 0);
	EXPECT(unpin_with(session.fd, lease, GPUFERRY_UNPIN_LATE), ENOENT);
	EXPECT(pinned_in_the_end(before), before);
	/* More than there are numbers, so that PIN has to wait for them. */
	for (i = 0; i < 20000 && !failures; i++) {
		EXPECT(pin(session.fd, page, 1, GPUFERRY_PIN_READ, &lease), 0);
		EXPECT(unpin_with(session.fd, lease, GPUFERRY_UNPIN_LATE), 0);
	}
	/* The last ones may be under way. */
	session_close(session);
	EXPECT(pinned_in_the_end(before), before);
	munmap(page, 4096);
}

static void random_ranges_are_pinned_and_unpinned(void)
{
	struct session session = session_open();
	size_t bytes = 8 << 20;
	char *at = memory(bytes, PROT_READ | PROT_WRITE);
	uint32_t leases[64];
	long before = pinned();
	int i, held = 0;

	for (i = 0; i < 1000 && !failures; i++) {
		size_t start = (size_t)random() * 4099 % bytes;
		size_t length = 1 + random() % (i % 10 ? 65536 : bytes);

		if (length > bytes - start)
			length = bytes - start;
		if (held == 64)
			EXPECT(unpin(session.fd, leases[--held]), 0);
		EXPECT(pin(session.fd, at + start, length, 1 + random() % 3, &leases[held++]), 0);
	}
	/* The rest ends with the session. */
	session_close(session);
	EXPECT(pinned_in_the_end(before), before);
	munmap(at, bytes);
}

static void *thread_of_calls(void *argument)
{
	struct session *session = argument;
	char *at = memory(1 << 20, PROT_READ | PROT_WRITE);
	uint32_t lease;
	int i;

	for (i = 0; i < 100; i++) {
		EXPECT(pin(session->fd, at + i * 100, 1 + i * 1000, GPUFERRY_PIN_WRITE, &lease), 0);
		EXPECT(call(session->fd, GPUFERRY_IOC_KICK, NULL), 0);
		EXPECT(wait_word(session->fd, window_bytes - 4, 0, 100000), ETIMEDOUT);
		EXPECT(unpin(session->fd, lease), 0);
	}
	munmap(at, 1 << 20);
	return NULL;
}

static void run_threads(void *(*function)(void *), struct session *session)
{
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, function, session);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void two_processes_of_eight_threads(void)
{
	long before = pinned();
	int i, status;

	fflush(stdout);
	for (i = 0; i < 2; i++) {
		if (!fork()) {
			struct session session = session_open();

			failures = 0;
			run_threads(thread_of_calls, &session);
			fflush(stdout);
			_exit(failures != 0);
		}
	}
	for (i = 0; i < 2; i++) {
		wait(&status);
		EXPECT(status, 0);
	}
	EXPECT(pinned_in_the_end(before), before);
}

static void *thread_of_pins(void *argument)
{
	struct session *session = argument;
	char *at = memory(4 << 20, PROT_READ | PROT_WRITE);
	uint32_t lease;
	int i;

	for (i = 0;; i++) {
		pin(session->fd, at, 4 << 20, GPUFERRY_PIN_WRITE, &lease);
		if (i % 2)
			unpin(session->fd, lease);
		else if (i % 32 == 0)
			wait_word(session->fd, window_bytes - 4, 0, 0);
	}
	return NULL;
}

static void a_killed_process_leaves_nothing_pinned(void)
{
	long before = pinned();
	int i, status;

	fflush(stdout);
	for (i = 0; i < 20; i++) {
		pid_t child = fork();

		if (!child) {
			struct session session = session_open();

			run_threads(thread_of_pins, &session);
		}
		usleep(20000 + random() % 100000);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		EXPECT(WTERMSIG(status), SIGKILL);
	}
	EXPECT(pinned_in_the_end(before), before);
}

/* The grandchild keeps the open file; still the session ends with its process. */
static void an_inherited_file_keeps_nothing_pinned(void)
{
	char *at = memory(1 << 20, PROT_READ | PROT_WRITE);
	long before = pinned();
	int status, pipes[2];
	pid_t child;
	char byte;

	EXPECT(pipe(pipes), 0);
	fflush(stdout);
	child = fork();
	if (!child) {
		struct session session = session_open();

		EXPECT(pin(session.fd, at, 1 << 20, GPUFERRY_PIN_WRITE, NULL), 0);
		if (!fork()) {
			close(pipes[1]);
			EXPECT(read(pipes[0], &byte, 1), 0);
			_exit(0);
		}
		EXPECT(pinned(), before + 256);
		fflush(stdout);
		_exit(failures != 0);
	}
	waitpid(child, &status, 0);
	EXPECT(status, 0);
	EXPECT(pinned_in_the_end(before), before);
	close(pipes[1]);
	close(pipes[0]);
	munmap(at, 1 << 20);
}

static void *thread_in_wait(void *argument)
{
	struct session *session = argument;

	EXPECT(wait_word(session->fd, window_bytes - 4, 0, 0), EPIPE);
	return NULL;
}

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	EXPECT(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void open_files_survive_the_device(void)
{
	char *at = memory(1 << 20, PROT_READ | PROT_WRITE), name[256] = "";
	struct session session = session_open();
	DIR *directory = opendir(DRIVER);
	long before = pinned();
	struct dirent *entry;
	pthread_t thread;
	uint32_t lease;
	int idle;

	while (directory && (entry = readdir(directory)))
		if (!strncmp(entry->d_name, "virtio", 6))
			snprintf(name, sizeof(name), "%s", entry->d_name);
	idle = open(node, O_RDWR);
	EXPECT(pin(session.fd, at, 1 << 20, GPUFERRY_PIN_WRITE, &lease), 0);
	pthread_create(&thread, NULL, thread_in_wait, &session);
	usleep(50000);
	write_to(DRIVER "/unbind", name);
	pthread_join(thread, NULL);
	EXPECT(pinned_in_the_end(before), before);
	EXPECT(call(session.fd, GPUFERRY_IOC_KICK, NULL), EPIPE);
	EXPECT(unpin(session.fd, lease), EPIPE);
	EXPECT(call(idle, GPUFERRY_IOC_SETUP, NULL), EPIPE);
	EXPECT(open(node, O_RDWR), -1);
	session.window[0] = 1;
	write_to(DRIVER "/bind", name);
	EXPECT(call(session.fd, GPUFERRY_IOC_KICK, NULL), EPIPE);
	session_close(session);
	close(idle);
	session = session_open();
	EXPECT(call(session.fd, GPUFERRY_IOC_KICK, NULL), 0);
	session_close(session);
	closedir(directory);
	munmap(at, 1 << 20);
}

static void run(const char *name, void (*test)(void))
{
	int before = failures;
	uint64_t start = now_ns();

	test();
	printf("%s %s (%llu ms)\n", failures == before ? "ok  " : "FAIL", name,
	       (unsigned long long)(now_ns() - start) / 1000000);
	fflush(stdout);
}

#define RUN(test) run(#test, test)

int main(int count, char **arguments)
{
	int unbind = 0, i;

	for (i = 1; i < count; i++) {
		if (!strcmp(arguments[i], "--unbind"))
			unbind = 1;
		else
			node = arguments[i];
	}
	RUN(info_is_checked_by_the_driver);
	RUN(calls_before_setup_are_refused);
	RUN(setup_and_mmap_work_once);
	RUN(children_have_no_session);
	RUN(wait_ends_by_value_time_and_signal);
	RUN(wrong_pins_are_refused);
	RUN(leases_that_nobody_waits_for_end);
	RUN(random_ranges_are_pinned_and_unpinned);
	RUN(two_processes_of_eight_threads);
	RUN(a_killed_process_leaves_nothing_pinned);
	RUN(an_inherited_file_keeps_nothing_pinned);
	if (unbind)
		RUN(open_files_survive_the_device);
	printf("%s\n", failures ? "FAILED" : "all passed");
	return failures != 0;
}
