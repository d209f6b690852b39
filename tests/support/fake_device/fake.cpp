// A device whose memory is the host's and whose tensors refuse to mix with the CPU's, as a card's do.
//
// Registered as torch's PrivateUse1. An operator looks whether all its tensors live on one device,
// then runs the host's kernel on the same memory: nothing is copied, so what is counted are the
// transfers and waits that a real device would see. There are two of them, and their tensors do not
// mix either. `refuse_float64` makes it as poor as MPS.
#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/InferSize.h>
#include <ATen/TensorUtils.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <set>
#include <string>

namespace {
using namespace at;

constexpr DeviceType FAKE = DeviceType::PrivateUse1;
constexpr DeviceIndex COUNT = 2;
thread_local DeviceIndex current_index = 0;
bool float64_refused = false;
std::map<std::string, int64_t> counts;  // item, read (to the host), write (from it, waiting), wait

Device here(DeviceIndex index) { return Device(FAKE, index < 0 ? current_index : index); }

double now() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

struct Guard final : public c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return FAKE; }
  Device exchangeDevice(Device d) const override {
    Device before = here(-1);
    setDevice(d);
    return before;
  }
  Device getDevice() const override { return here(-1); }
  void setDevice(Device d) const override {
    if (d.index() >= 0) current_index = d.index();
  }
  void uncheckedSetDevice(Device d) const noexcept override {
    if (d.index() >= 0) current_index = d.index();
  }
  Stream getStream(Device d) const override { return Stream(Stream::DEFAULT, here(d.index())); }
  Stream getDefaultStream(Device d) const override { return getStream(d); }
  Stream getNewStream(Device d, int) const override { return getStream(d); }
  Stream exchangeStream(Stream s) const override { return getStream(s.device()); }
  DeviceIndex deviceCount() const noexcept override { return COUNT; }
  void record(void** event, const Stream&, const DeviceIndex, const EventFlag) const override {
    if (*event == nullptr) *event = new double;
    *static_cast<double*>(*event) = now();
  }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void* event, const DeviceIndex) const noexcept override {
    delete static_cast<double*>(event);
  }
  double elapsedTime(void* first, void* second, const DeviceIndex) const override {
    return *static_cast<double*>(second) - *static_cast<double*>(first);
  }
  void synchronizeEvent(void*) const override { counts["wait"]++; }
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override { counts["wait"]++; }
  void synchronizeDevice(const DeviceIndex) const override { counts["wait"]++; }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Memory final : public at::Allocator {
  DataPtr allocate(size_t n) override {
    void* p = n ? std::malloc(n) : nullptr;
    return {p, p, &Memory::release, here(-1)};
  }
  static void release(void* p) { std::free(p); }
  at::DeleterFnPtr raw_deleter() const override { return &Memory::release; }
  void copy_data(void* d, const void* s, std::size_t n) const override { default_copy_data(d, s, n); }
};
Memory memory;
REGISTER_ALLOCATOR(DeviceType::PrivateUse1, &memory);

struct Hooks : public at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  const Generator& getDefaultGenerator(DeviceIndex) const override {
    return at::globalContext().defaultGenerator(kCPU);
  }
  Device getDeviceFromPtr(void*) const override { return here(-1); }
  bool isPinnedPtr(const void*) const override { return false; }
  Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t n) const override {
    auto* impl = storage.unsafeGetStorageImpl();
    c10::DeviceGuard guard(impl->device());
    DataPtr fresh = memory.allocate(n);
    if (n && impl->nbytes()) std::memcpy(fresh.get(), impl->data(), std::min(impl->nbytes(), n));
    impl->set_data_ptr_noswap(std::move(fresh));
    impl->set_nbytes(n);
  }
};

void allow(c10::ScalarType dtype, const std::string& who) {
  bool wide = dtype == kDouble || dtype == kComplexDouble;
  TORCH_CHECK_TYPE(!(float64_refused && wide), "this device has no float64 (", who, ")");
}

// Views of the same memory from the other side

Tensor over(Storage storage, DispatchKey key, const Tensor& like) {
  auto made = at::detail::make_tensor<TensorImpl>(std::move(storage), DispatchKeySet(key), like.dtype());
  made.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return made;
}

Storage shared(const Storage& storage, Device device, Allocator* allocator) {
  void* p = storage.nbytes() ? storage.mutable_data() : nullptr;
  auto release = [](void* kept) { delete static_cast<Storage*>(kept); };
  DataPtr data(p, new Storage(storage), release, device);
  return Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data), allocator, true);
}

Tensor host(const Tensor& t) {
  return over(shared(t.storage(), Device(kCPU), c10::GetCPUAllocator()), DispatchKey::CPU, t);
}

Tensor on_device(const Tensor& t, DeviceIndex index, const std::string& who) {
  allow(t.scalar_type(), who);
  return over(shared(t.storage(), here(index), &memory), DispatchKey::PrivateUse1, t);
}

// Memory, copies and views

Tensor empty(c10::SymIntArrayRef size, std::optional<ScalarType> dtype, std::optional<Layout>,
             std::optional<Device> device, std::optional<bool>, std::optional<MemoryFormat> format) {
  c10::DeviceGuard guard(here(device.has_value() ? device->index() : -1));
  auto type = dtype.value_or(c10::get_default_dtype_as_scalartype());
  allow(type, "empty");
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &memory,
                                   DispatchKeySet(DispatchKey::PrivateUse1), type, format);
}

Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                     std::optional<ScalarType> dtype, std::optional<Layout>,
                     std::optional<Device> device, std::optional<bool>) {
  c10::DeviceGuard guard(here(device.has_value() ? device->index() : -1));
  auto type = dtype.value_or(c10::get_default_dtype_as_scalartype());
  allow(type, "empty_strided");
  return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size),
                                           C10_AS_INTARRAYREF_SLOW(stride), &memory,
                                           DispatchKeySet(DispatchKey::PrivateUse1), type);
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool non_blocking) {
  if (self.is_cpu() && !non_blocking) counts["write"]++;
  if (to.is_cpu()) counts["read"]++;
  Tensor target = to.is_cpu() ? to : host(to);
  target.copy_(self.is_cpu() ? self : host(self));
  return to;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  if (to.sizes() != self.sizes()) to.resize_(self.sizes());
  return copy_from(self, to, false);
}

Scalar item(const Tensor& self) {
  counts["item"]++;
  return host(self).item();
}

const Tensor& resize(const Tensor& self, c10::SymIntArrayRef size, std::optional<MemoryFormat>) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_sizes_contiguous(C10_AS_INTARRAYREF_SLOW(size));
  size_t needed = (impl->numel() + self.storage_offset()) * self.itemsize();
  if (self.storage().nbytes() < needed)
    at::detail::getPrivateUse1Hooks().resizePrivateUse1Bytes(self.storage(), needed);
  return self;
}

Tensor& set_storage(Tensor& self, Storage source, c10::SymInt offset, c10::SymIntArrayRef size,
                    c10::SymIntArrayRef stride) {
  self.unsafeGetTensorImpl()->set_storage_keep_dtype(std::move(source));
  at::native::setStrided(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                         offset.expect_int());
  return self;
}

Tensor as_strided(const Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                  std::optional<c10::SymInt> offset) {
  auto made = at::detail::make_tensor<TensorImpl>(TensorImpl::VIEW, Storage(self.storage()),
                                                  self.key_set(), self.dtype());
  at::native::setStrided(made, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                         offset.has_value() ? offset->expect_int() : self.storage_offset());
  return made;
}

Tensor reshape_alias(const Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return as_strided(self, size, stride, std::nullopt);
}

Tensor view(const Tensor& self, c10::SymIntArrayRef size) {
  auto sizes = at::infer_size_dv(C10_AS_INTARRAYREF_SLOW(size), self.numel());
  auto strides = at::detail::computeStride(self.sizes(), self.strides(), sizes);
  TORCH_CHECK(strides.has_value(), "this tensor cannot be viewed so; use .reshape(...)");
  return at::as_strided(self, IntArrayRef(sizes), IntArrayRef(*strides), self.storage_offset());
}

// Every other operator

const std::set<std::string> INDEXING = {"aten::index", "aten::index_put", "aten::index_put_",
                                        "aten::_index_put_impl_"};  // take indices of the CPU
const std::set<std::string> WAITING = {"aten::nonzero",      "aten::masked_select", "aten::equal",
                                       "aten::_unique2",     "aten::unique_dim",    "aten::bincount",
                                       "aten::is_nonzero",   "aten::unique_consecutive"};

struct Call {  // the arguments of one operator, brought to the host's side
  const std::string& name;
  DeviceIndex index = -1;
  std::string strangers;
  std::map<const void*, Tensor> of_memory;  // host storage → the device's tensor
  std::map<const TensorImpl*, Tensor> of_tensor;
  std::vector<std::pair<Tensor, Tensor>> pairs;

  Tensor given(const Tensor& t, size_t argument) {
    if (!t.defined()) return t;
    if (!t.is_privateuseone()) {
      bool taken = t.dim() == 0 || (INDEXING.count(name) && argument == 1);
      if (t.is_cpu() && !taken) note(t, argument);
      return t;
    }
    if (index >= 0 && t.device().index() != index) note(t, argument);
    if (index < 0) index = t.device().index();
    if (INDEXING.count(name) && argument == 1 && t.scalar_type() == kBool) counts["wait"]++;
    Tensor made = host(t);
    of_memory.emplace(made.storage().unsafeGetStorageImpl(), t);
    of_tensor.emplace(made.unsafeGetTensorImpl(), t);
    pairs.emplace_back(made, t);
    return made;
  }

  void note(const Tensor& t, size_t argument) {
    strangers += c10::str(" argument ", argument, " of shape ", t.sizes(), " on ", t.device(), ";");
  }

  Tensor returned(const Tensor& t) {
    if (!t.defined() || !t.is_cpu()) return t;
    if (auto same = of_tensor.find(t.unsafeGetTensorImpl()); same != of_tensor.end())
      return same->second;
    auto view = of_memory.find(t.storage().unsafeGetStorageImpl());
    if (view == of_memory.end()) return on_device(t, index, name);
    return over(Storage(view->second.storage()), DispatchKey::PrivateUse1, t);
  }

  void resized() {  // outputs that an operator gave another shape
    for (auto& [made, t] : pairs)
      if (made.sizes() != t.sizes()) {
        at::native::resize_(host(t), {0});
        t.resize_(made.sizes());
        host(t).copy_(made);
      }
  }
};

void on_the_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& name = op.operator_name().name;
  if (WAITING.count(name)) counts["wait"]++;
  Call call{name};
  size_t arguments = op.schema().arguments().size();
  auto values = torch::jit::last(*stack, arguments);
  std::vector<c10::IValue> mine(values.begin(), values.end());
  for (size_t i = 0; i < arguments; i++) {
    auto& v = mine[i];
    if (v.isTensor()) {
      v = call.given(v.toTensor(), i);
    } else if (v.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& t : v.toTensorVector()) list.push_back(call.given(t, i));
      v = list;
    } else if (v.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (std::optional<Tensor> t : v.toOptionalTensorList())
        list.push_back(t.has_value() ? std::optional<Tensor>(call.given(*t, i)) : std::nullopt);
      v = list;
    } else if (v.isDevice() && v.toDevice().type() == FAKE) {
      if (call.index < 0) call.index = here(v.toDevice().index()).index();
      v = Device(kCPU);
    } else if (v.isGenerator()) {
      TORCH_CHECK(!v.toGenerator().device().is_cpu(), "a generator of the CPU was given to a device (",
                  name, ")");
    }
  }
  TORCH_CHECK(call.index < 0 || call.strangers.empty(), "Expected all tensors to be on the same device, but ",
              name, " on fake:", int(call.index), " got", call.strangers);
  torch::jit::drop(*stack, arguments);
  size_t before = stack->size();
  for (auto& v : mine) stack->push_back(v);
  op.redispatchBoxed(DispatchKeySet(DispatchKey::CPU), stack);
  call.resized();
  for (size_t i = before; i < stack->size(); i++) {
    auto& v = (*stack)[i];
    if (v.isTensor()) {
      v = call.returned(v.toTensor());
    } else if (v.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& t : v.toTensorVector()) list.push_back(call.returned(t));
      v = list;
    }
  }
}

Tensor convolution(const Tensor& x, const Tensor& w, const std::optional<Tensor>& b,
                   c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                   bool transposed, c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  std::string name = "convolution";
  Call call{name};
  Tensor hx = call.given(x, 0), hw = call.given(w, 1);
  std::optional<Tensor> hb;
  if (b.has_value() && b->defined()) hb = call.given(*b, 2);
  TORCH_CHECK(call.strangers.empty(), "Expected all tensors to be on the same device, but convolution got",
              call.strangers);
  return call.returned(at::convolution_symint(hx, hw, hb, stride, padding, dilation, transposed,
                                              output_padding, groups));
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& g, const Tensor& x, const Tensor& w, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed,
    c10::SymIntArrayRef output_padding, c10::SymInt groups, std::array<bool, 3> mask) {
  std::string name = "convolution_backward";
  Call call{name};
  Tensor hg = call.given(g, 0), hx = call.given(x, 1), hw = call.given(w, 2);
  auto bias = std::vector<c10::SymInt>{w.sym_size(transposed ? 1 : 0) * (transposed ? groups : c10::SymInt(1))};
  auto made = at::convolution_backward_symint(hg, hx, hw, c10::SymIntArrayRef(bias), stride, padding,
                                              dilation, transposed, output_padding, groups, mask);
  return {call.returned(std::get<0>(made)), call.returned(std::get<1>(made)),
          call.returned(std::get<2>(made))};
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_the_host>());
}
TORCH_LIBRARY_IMPL(_, AutogradPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &item);
  m.impl("resize_", &resize);
  m.impl("set_.source_Storage_storage_offset", &set_storage);
  m.impl("as_strided", &as_strided);
  m.impl("_reshape_alias", &reshape_alias);
  m.impl("view", &view);
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
  // their composite forms assume a memory layout that devices see to themselves
  for (const char* name : {"native_group_norm", "native_group_norm_backward", "native_layer_norm",
                           "native_layer_norm_backward"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&on_the_host>());
}
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }
// what a card computes in low precision under autocast
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  KERNEL_PRIVATEUSEONE(linear, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(matmul, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(mm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(bmm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(addmm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(conv2d, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(conv3d, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(scaled_dot_product_attention, lower_precision_fp)
}

void start() { at::RegisterPrivateUse1HooksInterface(new Hooks()); }
int64_t count(const std::string& what) { return counts[what]; }
void refuse_float64(bool refused) { float64_refused = refused; }

TORCH_LIBRARY(fake_device, m) {
  m.def("start", &start);
  m.def("count", &count);
  m.def("refuse_float64", &refuse_float64);
}
}  // namespace
