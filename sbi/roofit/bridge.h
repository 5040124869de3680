// RooFit objects whose values come from Python, through C function pointers made by ctypes.
//
// Declared to cling once per process by `_bridge.py`. The classes have no dictionary on purpose: what
// lives in Python memory cannot be written to a file, and a class declared in an interpreter reads
// back wrong without a word. Every way to a file ends in an exception instead, see `Unwritable`.

#include "RooAbsData.h"
#include "RooAbsReal.h"
#include "RooListProxy.h"
#include "RooWorkspace.h"
#include "RooFit/EvalContext.h"
#include "RVersion.h"
#include "TBuffer.h"
#include "TDirectory.h"
#include "THashList.h"
#include "TKey.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace rootml_roofit {

// What Python offers: both return 0, or 1 and the text of an exception in `message`.
using NllCall = int (*)(long id, const double *theta, double *value, double *gradient, double *hessian, char *message);
using BatchCall = int (*)(long id, long rows, long number, const double *const *columns, const long *sizes,
                          double *output, char *message);
constexpr std::size_t kMessageSize = 2000;

/// An object that Python evaluates: it refuses to be written or imported into a workspace.
class Unwritable : public RooAbsReal {
public:
   Unwritable(const char *name, const char *title) : RooAbsReal(name, title) {}
   Unwritable(const Unwritable &other, const char *name) : RooAbsReal(other, name) {}

   // RooWorkspace::import(RooAbsArg) asks here.
   bool importWorkspaceHook(RooWorkspace &) override { refuse("imported into a workspace"); }

   // PyROOT tries the next overload when one throws: RooWorkspace::import(TObject) clones through
   // TObject, whose default name is empty and not null as RooFit's.
   TObject *Clone(const char *name = nullptr) const override
   {
      if (name && !*name)
         refuse("cloned as a TObject, as for a workspace");
      return clone(name);
   }

   void Streamer(TBuffer &buffer) override
   {
      if (auto *directory = dynamic_cast<TDirectory *>(buffer.GetParent()))
         forgetUnwritten(*directory);
      refuse("written to a file");
   }

private:
   [[noreturn]] void refuse(const char *what) const
   {
      throw std::runtime_error(std::string("rootml: '") + GetName() + "' is evaluated in Python and cannot be " +
                               what + ", from which it would read back wrong; to_roofit(route=\"columns\") can");
   }

   // A TKey enters the list of its directory before its object is streamed; as the exception ends
   // its constructor, it must leave the list again or the directory keeps a dangling pointer.
   static void forgetUnwritten(TDirectory &directory)
   {
      std::vector<TObject *> unwritten;
      for (TObject *key : *directory.GetListOfKeys()) {
         if (static_cast<TKey *>(key)->GetSeekKey() == 0)
            unwritten.push_back(key);
      }
      for (TObject *key : unwritten)
         directory.GetListOfKeys()->Remove(key);
      for (TObject *object : *directory.GetList()) {
         if (auto *inner = dynamic_cast<TDirectory *>(object))
            forgetUnwritten(*inner);
      }
   }
};

/// A negative log-likelihood with its gradient and its second derivatives.
class Nll final : public Unwritable {
public:
   Nll(const char *name, const char *title, const RooArgList &parameters, long id, unsigned long long call)
      : Unwritable(name, title),
        _parameters("parameters", "parameters", this),
        _id(id),
        _call(reinterpret_cast<NllCall>(call))
   {
      _parameters.add(parameters);
   }
   Nll(const Nll &other, const char *name = nullptr)
      : Unwritable(other, name), _parameters("parameters", this, other._parameters), _id(other._id), _call(other._call)
   {
   }
   TObject *clone(const char *name = nullptr) const override { return new Nll(*this, name); }

   double defaultErrorLevel() const override { return 0.5; } // RooAbsReal's own 1.0 is that of a chi square

   // RooMinimizer numbers the *leaves* of the graph; after somebody has put a formula in the place of
   // a parameter, they are not ours any more.
   bool hasGradient() const override
   {
      return std::all_of(_parameters.begin(), _parameters.end(), [](RooAbsArg *arg) { return arg->isFundamental(); });
   }

   // RooFit sorts parameters by name, constant ones included.
   void gradient(double *out) const override
   {
      double value = 0.;
      std::vector<double> gradient(_parameters.size());
      call(&value, gradient.data(), nullptr);
      const std::vector<std::size_t> order = byName();
      for (std::size_t i = 0; i < order.size(); ++i)
         out[i] = gradient[order[i]];
   }

#if ROOT_VERSION_CODE >= ROOT_VERSION(6, 40, 0) // older ones have no place for it
   // For a RooMinimizer whose Config has useHessian.
   bool hasHessian() const override { return hasGradient(); }

   void hessian(double *out) const override
   {
      const std::size_t size = _parameters.size();
      double value = 0.;
      std::vector<double> hessian(size * size);
      call(&value, nullptr, hessian.data());
      const std::vector<std::size_t> order = byName();
      for (std::size_t i = 0; i < size; ++i)
         for (std::size_t j = 0; j < size; ++j)
            out[i * size + j] = hessian[order[i] * size + order[j]];
   }
#endif

protected:
   double evaluate() const override
   {
      double value = 0.;
      call(&value, nullptr, nullptr);
      return value;
   }

private:
   std::vector<std::size_t> byName() const
   {
      std::vector<std::size_t> order(_parameters.size());
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
         return std::strcmp(_parameters[a].GetName(), _parameters[b].GetName()) < 0;
      });
      return order;
   }

   void call(double *value, double *gradient, double *hessian) const
   {
      std::vector<double> theta;
      theta.reserve(_parameters.size());
      for (RooAbsArg *parameter : _parameters)
         theta.push_back(static_cast<RooAbsReal *>(parameter)->getVal());
      char message[kMessageSize] = "";
      if (_call(_id, theta.data(), value, gradient, hessian, message))
         throw std::runtime_error(message);
   }

   RooListProxy _parameters;
   long _id;
   NllCall _call;
};

/// A function of columns and parameters, evaluated for all events at once.
class Batch final : public Unwritable {
public:
   Batch(const char *name, const char *title, const RooArgList &variables, long id, unsigned long long call)
      : Unwritable(name, title),
        _variables("variables", "variables", this),
        _id(id),
        _call(reinterpret_cast<BatchCall>(call))
   {
      _variables.add(variables);
   }
   Batch(const Batch &other, const char *name = nullptr)
      : Unwritable(other, name), _variables("variables", this, other._variables), _id(other._id), _call(other._call)
   {
   }
   TObject *clone(const char *name = nullptr) const override { return new Batch(*this, name); }

protected:
   double evaluate() const override
   {
      std::vector<double> values;
      for (RooAbsArg *variable : _variables)
         values.push_back(static_cast<RooAbsReal *>(variable)->getVal());
      std::vector<const double *> columns;
      for (double &value : values)
         columns.push_back(&value);
      double output = 0.;
      call(1, columns, std::vector<long>(values.size(), 1), &output);
      return output;
   }

   // The output has the size of *these* events: a column has one value per event, a parameter one.
   void doEval(RooFit::EvalContext &context) const override
   {
      std::span<double> output = context.output();
      std::vector<const double *> columns;
      std::vector<long> sizes;
      for (RooAbsArg *variable : _variables) {
         std::span<const double> column = context.at(static_cast<RooAbsReal *>(variable));
         columns.push_back(column.data());
         sizes.push_back(static_cast<long>(column.size()));
      }
      call(static_cast<long>(output.size()), columns, sizes, output.data());
   }

private:
   void call(long rows, const std::vector<const double *> &columns, const std::vector<long> &sizes,
             double *output) const
   {
      char message[kMessageSize] = "";
      if (_call(_id, rows, static_cast<long>(columns.size()), columns.data(), sizes.data(), output, message))
         throw std::runtime_error(message);
   }

   RooListProxy _variables;
   long _id;
   BatchCall _call;
};

/// Owner of the objects of one likelihood; they die together, the youngest first.
class Keeper {
public:
   ~Keeper()
   {
      while (!_objects.empty()) {
         delete _objects.back();
         _objects.pop_back();
      }
   }
   void adopt(TObject *object) { _objects.push_back(object); }

   // Whether something that is not ours points at one of them: a likelihood made by createNLL, a sum.
   bool inUse() const
   {
      std::set<const RooAbsArg *> ours;
      for (TObject *object : _objects) {
         if (auto *arg = dynamic_cast<RooAbsArg *>(object))
            ours.insert(arg);
      }
      for (const RooAbsArg *arg : ours) {
         for (const RooAbsArg *client : arg->clients()) {
            if (!ours.count(client))
               return true;
         }
      }
      return false;
   }
   // Leave the objects alive for good: a RooMinimizer, which is seen by nobody, may hold them.
   void abandon() { _objects.clear(); }

private:
   std::vector<TObject *> _objects;
};

} // namespace rootml_roofit
